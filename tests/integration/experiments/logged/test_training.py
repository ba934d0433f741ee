"""Training as a job: from a pushed file to a registered version, on a real MLflow."""

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.experiments.conftest import PushDataset
from tests.integration.experiments.data import loans
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.adapters.bundles import unpack_bundle
from tidemill.adapters.model_loading import load_model
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction

RUNS = "/api/v1/training-runs"


async def start(api: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    body = {"dataset": "loans", "target": "good", "trials": 3, **changes}
    answer = await api.post(RUNS, json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_a_run_trains_assesses_logs_and_registers(
    *,
    api: httpx.AsyncClient,
    push_dataset: PushDataset,
    run_jobs: RunJobs,
    sessions: SessionFactory,
    store: ObjectStore,
    mlflow_server: str,
    tmp_path: Path,
) -> None:
    await push_dataset("loans", loans())
    started = await start(api)
    assert started["name"] == "loans-good"
    await run_jobs()
    run = (await api.get(f"{RUNS}/{started['run_id']}")).json()
    job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
    assert run["status"] == "succeeded", job["error"]
    assert job["result"] == {"run_id": run["id"], "model_name": "loans-good", "model_version": 1}
    assert (run["task"], run["metric"], run["trials"], run["model_version"]) == ("binary", "roc_auc", 3, 1)
    auc = run["metrics"]["roc_auc"]
    assert 0.6 < auc["low"] < auc["value"] < auc["high"] <= 1
    report = run["report"]
    assert {entry["candidate"] for entry in report["leaderboard"]} == {
        "lightgbm", "linear", "hist_gradient_boosting", "naive_baseline"
    }  # fmt: skip
    assert all(entry["low"] <= entry["score"] <= entry["high"] for entry in report["leaderboard"])
    assert {figure["name"] for figure in run["figures"]} == {
        "calibration.png", "confusion.png", "importance.png", "precision_recall.png", "roc.png"
    }  # fmt: skip
    figure = await api.get(f"{RUNS}/{run['id']}/figures/roc.png")
    assert figure.content.startswith(b"\x89PNG")
    assert "time_column_unused" in {warning["code"] for warning in report["warnings"]}

    await check_served_model(api, sessions, store, tmp_path)
    await asyncio.to_thread(check_mlflow, mlflow_server, run)
    board = (await api.get("/api/v1/experiments/loans-good/leaderboard")).json()
    assert (board["sort"], [row["run_id"] for row in board["items"]]) == ("roc_auc", [run["id"]])


async def check_served_model(
    api: httpx.AsyncClient, sessions: SessionFactory, store: ObjectStore, tmp_path: Path
) -> None:
    """The bundle in the object store gives the stored holdout predictions, and copes with gaps and unseen towns."""
    async with transaction(sessions) as session:
        query = "SELECT bundle_sha256, holdout_key, classes, mlflow_model_uri FROM model_versions"
        row = (await session.execute(text(query))).one()
    assert row.classes == ["no", "yes"]
    await store.download(f"bundles/{row.bundle_sha256}.tar", tmp_path / "bundle.tar")
    unpack_bundle(tmp_path / "bundle.tar", tmp_path / "model", row.bundle_sha256)
    model = load_model(tmp_path / "model", "tidemill")
    holdout = pq.read_table(io.BytesIO(await store.get(row.holdout_key))).to_pandas()
    frame = pd.read_csv(io.BytesIO(loans()), parse_dates=["joined"]).drop(columns="good")
    outputs = model.predict(frame.iloc[holdout["row"]])
    assert outputs.probabilities is not None
    np.testing.assert_allclose(outputs.probabilities[:, 1], holdout["probability_yes"], rtol=1e-9)
    strange = frame.head(2).assign(town=["atlantis", None], income=np.nan, member=None)
    assert np.isfinite(np.asarray(model.predict(strange).probabilities)).all()


def check_mlflow(url: str, run: dict[str, Any]) -> None:
    with httpx.Client(base_url=url, auth=("platform", MLFLOW_TOKEN)) as http:
        got = http.get("/api/2.0/mlflow/runs/get", params={"run_id": run["mlflow_run_id"]}).json()["run"]
        metrics = {metric["key"]: metric["value"] for metric in got["data"]["metrics"]}
        assert metrics["roc_auc"] == run["metrics"]["roc_auc"]["value"]
        assert metrics["roc_auc.low"] == run["metrics"]["roc_auc"]["low"]
        tags = {tag["key"]: tag["value"] for tag in got["data"]["tags"]}
        assert (tags["tidemill.dataset"], tags["tidemill.job_id"]) == ("loans", run["job_id"])
        assert got["info"]["run_name"] == f"{run['candidate']} on loans:1"
        assert got["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "loans"
        assert len(got["outputs"]["model_outputs"]) == 1
        search = {"experiment_ids": [got["info"]["experiment_id"]], "max_results": 100}
        runs = http.post("/api/2.0/mlflow/runs/search", json=search).json()["runs"]
        assert len(runs) == 1 + run["trials"]
        versions = http.get("/api/2.0/mlflow/model-versions/search", params={"filter": "name = 'loans-good'"})
        assert [version["run_id"] for version in versions.json()["model_versions"]] == [run["mlflow_run_id"]]
        model = http.get("/api/2.0/mlflow/registered-models/get", params={"name": "loans-good"}).json()
        assert model["registered_model"]["aliases"] == [{"alias": "champion", "version": "1"}]
