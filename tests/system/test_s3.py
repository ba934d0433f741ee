"""The loop as the README writes it in Python, on real S3 servers."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.s3_servers import S3_KEY, S3_SECRET, s3_settings
from tests.system.conftest import README, MakeUp, Up
from tests.unit.training.tables import census
from tidemill.adapters.object_store import open_object_store

BUDGET = "time_budget_seconds=120"
PREDICTED = 20
CANDIDATES = ("lightgbm", "hist_gradient_boosting", "random_forest", "linear")


@pytest.fixture(params=["rclone_s3", "minio_s3"])
def s3(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def up(make_up: MakeUp, s3: str, tmp_path: Path) -> Iterator[Up]:
    secret = tmp_path / "secret"
    secret.write_text(S3_SECRET)
    up = make_up(
        TIDEMILL_OBJECT_STORE__URL="s3://tidemill/loop",
        TIDEMILL_OBJECT_STORE__ENDPOINT=s3,
        TIDEMILL_OBJECT_STORE__ACCESS_KEY_ID=S3_KEY,
        TIDEMILL_OBJECT_STORE__SECRET_ACCESS_KEY_FILE=str(secret),
    )
    (up.data_dir.parent / "tidemill-data").symlink_to(up.data_dir)
    yield up.start().ready()
    up.stop()


def readme_program(rows: list[dict[str, object]]) -> str:
    """The README's Python lines, with fewer seconds to train, and with the rows that they take as given."""
    (lines,) = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert lines.count(BUDGET) == 1
    return f"people = {rows!r}\n" + lines.replace(BUDGET, "time_budget_seconds=5")


def run(up: Up, program: str) -> str:
    addresses = {"TIDEMILL_URL": up.addresses["api"], "TIDEMILL_MODEL_SERVER_URL": up.addresses["model_server"]}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=up.data_dir.parent,
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_readme_in_python_closes_the_loop_on_s3(up: Up, s3: str) -> None:
    folder = up.data_dir.parent
    table = census(800)
    table.to_csv(folder / "people.csv", index=False)
    inputs = [{"age": int(row.age), "wage": float(row.wage)} for row in table.dropna().head(PREDICTED).itertuples()]
    candidate, metrics = run(up, readme_program(inputs)).splitlines()
    assert candidate.split()[0] in CANDIDATES
    assert "accuracy" in metrics

    with up.client() as client:
        assert len(list(client.predictions.list("adult-income"))) == PREDICTED
    store = open_object_store(s3_settings(s3, "loop"))
    for kind in ("datasets/raw/", "datasets/parquet/", "bundles/", "holdouts/", "reports/", "figures/", "mlflow/"):
        assert await store.list(kind), kind
    refuses_signed_addresses(up)


def refuses_signed_addresses(up: Up) -> None:
    """MLflow has the store sign none: one would outlive the key that it was got with."""
    with httpx.Client(base_url=up.addresses["mlflow"], auth=("anybody", up.key), timeout=30) as http:
        path = "/api/2.0/mlflow-artifacts"
        assert http.put(f"{path}/artifacts/own/file.txt", content=b"text").status_code == 200
        for prefix in ("/api", "/ajax-api"):
            assert http.get(f"{prefix}/2.0/mlflow-artifacts/presigned/own/file.txt").status_code == 501
        parts = http.post(f"{path}/mpu/create/own", json={"path": "file.txt", "num_parts": 1})
        assert parts.status_code == 501
        where = {"name": "direct", "artifact_location": "s3://tidemill/direct"}
        experiment = http.post("/api/2.0/mlflow/experiments/create", json=where).json()
        run = http.post("/api/2.0/mlflow/runs/create", json=experiment).json()["run"]["info"]["run_id"]
        for kind in ("upload", "download"):
            asked = {"run_id": run, "path": "file.txt"}
            answer = http.post(f"/api/2.0/mlflow/artifacts/presigned-{kind}-url", json=asked)
            assert answer.status_code == 403, answer.text  # the run's artifacts are not in the platform's place
        told = http.get("/api/3.0/mlflow/server-info").json()
        assert (told["multipart_uploads_enabled"], told["multipart_downloads_enabled"]) == (False, False)
