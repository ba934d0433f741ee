"""MLflow's scoring protocol, bad requests in every dialect, and foreign models in their own process."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.serving.conftest import Server, until
from tests.integration.serving.models import ROWS, Models, classifier, constant
from tidemill.adapters.bundles import bundle_key, pack_bundle
from tidemill.kit.errors import DeadlineExceeded, Unavailable
from tidemill.model_server.runtimes.child import ChildRuntime, ModelOrder

PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
FOREIGN = """
import os, time

class Doubler:
    def predict(self, frame, params=None):
        x = frame["x"]
        if (x < 0).any():
            os._exit(9)
        if (x == 99).any():
            time.sleep(60)
        if (x == 13).any():
            raise ValueError("unlucky " + str(x.tolist()))
        assert "TIDEMILL_SECRET" not in os.environ
        return (2 * x).tolist()

def _load_pyfunc(path):
    return Doubler()
"""
MLMODEL = """
flavors:
  python_function:
    code: code
    loader_module: foreign_doubler
    python_version: 3.11.0
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "double", "required": true}]'
  params: null
"""


def foreign_model(folder: Path) -> Path:
    directory = folder / "foreign"
    (directory / "code").mkdir(parents=True)
    (directory / "code" / "foreign_doubler.py").write_text(FOREIGN)
    (directory / "MLmodel").write_text(MLMODEL)
    return directory


async def test_mlflow_clients_get_the_same_predictions_in_every_form_they_send(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"])
    await models.register("numbers", constant(5.0))
    await control.put("/api/v1/deployments/wealth", json={"model": "people:1"})
    await server.start()
    names = ["town", "hours", "age"]
    forms: list[dict[str, Any]] = [
        {"dataframe_records": ROWS},
        {"dataframe_split": {"columns": names, "data": [[row[name] for name in names] for row in ROWS]}},
        {"instances": ROWS},
        {"inputs": {name: [row[name] for row in ROWS] for name in names}},
        {"inputs": ROWS, "params": {}},
    ]
    async with server.client() as client:
        for form in forms:
            answer = await client.post("/invocations", json=form)
            assert answer.json()["predictions"] == ["poor", "rich", "poor"], answer.text
            assert len(set(answer.json()["prediction_ids"])) == 3
            assert answer.headers["x-model-version"] == "1"
        text = "age,hours,town\n25,20.5,Ulm\n61,60,\n43,,Bonn\n"
        answer = await client.post("/invocations", content=text, headers={"Content-Type": "text/csv"})
        assert answer.json()["predictions"] == ["poor", "rich", "poor"], answer.text
        rows = pa.table({name: [row.get(name) for row in ROWS] for name in ("hours", "age", "town")})
        answer = await client.post("/invocations", content=parquet_of(rows), headers=PARQUET)
        assert answer.json()["predictions"] == ["poor", "rich", "poor"], answer.text
        basic = httpx.BasicAuth("anyone", server.predict_key)
        answer = await client.post("/deployments/wealth/invocations", json=forms[0], auth=basic)
        assert answer.status_code == 200
        await refuse_what_is_wrong(client)
        await control.put("/api/v1/deployments/other", json={"model": "numbers:1"})
        await server.until_serving("other", 1)
        assert (await client.post("/invocations", json=forms[0])).status_code == 409
        named = await client.post("/invocations", params={"deployment": "other"}, json=forms[0])
        assert named.json()["predictions"] == [5.0] * 3
        metrics = (await client.get("/metrics")).text
    label = 'tidemill_prediction_rows_total{deployment="wealth",model="people",version="1"}'
    assert f"{label} 24.0" in metrics


def parquet_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


async def refuse_wrong_parquet(client: httpx.AsyncClient) -> None:
    texts = pa.table({"age": ["1"], "hours": [2.0], "town": ["secret"]})
    lacking = pa.table({"town": ["Ulm"]})
    lossy = pa.table({"age": pa.array([1], pa.timestamp("ns")), "hours": [2.0], "town": ["Ulm"]})
    for content in (parquet_of(texts), parquet_of(lacking), parquet_of(lossy), parquet_of(lacking)[:-8], b"", b"age"):
        answer = await client.post("/invocations", content=content, headers=PARQUET)
        assert answer.status_code == 422, answer.text
        assert "secret" not in answer.text
    lacking_columns = await client.post("/invocations", content=parquet_of(lacking), headers=PARQUET)
    assert {problem["pointer"] for problem in lacking_columns.json()["errors"]} == {"column age", "column hours"}
    many = pa.table({"age": [1] * 100_001, "hours": [1.0] * 100_001})
    assert (await client.post("/invocations", content=parquet_of(many), headers=PARQUET)).status_code == 413


async def refuse_what_is_wrong(client: httpx.AsyncClient) -> None:
    bodies: list[tuple[Any, int, str]] = [
        ({"dataframe_records": ROWS, "instances": ROWS}, 422, "request_invalid"),
        ({"rows": ROWS}, 422, "request_invalid"),
        ({"instances": ROWS, "signature_name": "x"}, 422, "request_invalid"),
        ({"instances": ROWS, "params": {"secret": 1}}, 422, "params_invalid"),
        ({"instances": []}, 422, "inputs_empty"),
        ({"instances": [[1, 2]]}, 422, "inputs_invalid"),
        ({"dataframe_records": [{"age": "secret", "hours": 1}]}, 422, "inputs_invalid"),
        ([1], 422, "request_invalid"),
    ]
    for body, status, code in bodies:
        answer = await client.post("/invocations", json=body)
        found = answer.json()
        assert (answer.status_code, found["code"]) == (status, code), (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert found["error_code"] == "INVALID_PARAMETER_VALUE"
        assert found["error"] == found["message"] == found["detail"]
        assert "secret" not in answer.text
    broken = await client.post("/invocations", content=b'{"a": secret', headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["code"], "secret" in broken.text) == (400, "body_not_json", False)
    infinite = b'{"instances": [{"age": 1, "hours": 1e999}]}'
    answer = await client.post("/invocations", content=infinite, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    other = await client.post("/invocations", content=b"x", headers={"Content-Type": "image/png"})
    assert other.status_code == 415
    lost = await client.post("/deployments/NoName/invocations", json={})
    assert (lost.status_code, lost.json()["message"]) == (422, lost.json()["detail"])
    await refuse_wrong_parquet(client)
    for text in ("age,hours\n1.5,2\n", "age,hours\n1\n", "age,age\n1,2\n", "hours\n1\n", ""):
        answer = await client.post("/invocations", content=text, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 422, text


async def test_a_foreign_model_runs_in_its_own_process_which_is_replaced_when_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_SECRET", "x")
    order = ModelOrder(foreign_model(tmp_path), "pyfunc", {"x": "double"}, timeout_seconds=20, runs_code=True)
    runtime = await ChildRuntime.load(order)
    try:
        answers = await asyncio.gather(*(runtime.predict({"x": [float(n)]}, None) for n in range(10)))
        assert [answer.prediction for answer in answers] == [[2.0 * n] for n in range(10)]
        with pytest.raises(Unavailable) as died:
            await runtime.predict({"x": [-1.0]}, None)
        assert died.value.code == "model_process_died"
        with pytest.raises(Exception, match="failed") as failed:
            await runtime.predict({"x": [13.0]}, None)
        assert "13" not in str(failed.value)
        assert runtime.restarts == 1
        object.__setattr__(order, "timeout_seconds", 0.5)
        with pytest.raises(DeadlineExceeded):
            await runtime.predict({"x": [99.0]}, None)
        pid = runtime.process_id
    finally:
        await runtime.close()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


async def test_a_foreign_model_is_deployed_like_any_other(
    control: httpx.AsyncClient, server: Server, models: Models, tmp_path: Path
) -> None:
    bundle = pack_bundle(foreign_model(tmp_path), tmp_path / "foreign.tar")
    await models.store.upload(bundle_key(bundle.sha256), bundle.path)
    signature = {"inputs": [{"name": "x", "type": "double", "required": True}], "outputs": [], "params": []}
    await models.register_bundle(
        "doubler",
        bundle.sha256,
        bundle.size_bytes,
        flavor="pyfunc",
        signature=signature,
        task=None,
        code_allowed_by="key_test",
    )
    await control.put("/api/v1/deployments/doubler", json={"model": "doubler:1"})
    await server.start()

    async def answers() -> bool:
        answer = await server.predict("doubler", [{"x": 21}])
        return answer.status_code == 200 and answer.json()["predictions"][0]["prediction"] == 42.0

    await until(answers, 60)
    await server.until_shipped()
    listed = (await control.get("/api/v1/predictions", params={"deployment": "doubler"})).json()["items"]
    assert json.dumps(listed[0]["output"]) == '{"prediction": 42.0}'
