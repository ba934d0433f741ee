"""One limit of a row from the request to the page that lists it: what is answered is kept, or else refused."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from tests.integration.conftest import LiveApi
from tests.integration.ledger_rows import Predicted, add_predictions, id_at
from tests.integration.serving.conftest import Server, until
from tests.integration.serving.models import Models, constant
from tidemill.adapters.bundles import bundle_key, pack_bundle
from tidemill.client import Tidemill
from tidemill.db.engine import SessionFactory
from tidemill.kit.clock import utc_now
from tidemill.kit.limits import MAX_RECORD_BYTES, MAX_ROW_BYTES, MAX_SEGMENT_BYTES, PAGE_BYTES

_PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
_TALKER = """
import datetime, decimal, math
import numpy as np

ODD = [
    math.inf, b"x", decimal.Decimal("1.1"), 2**64, {1, 2}, "\\ud800", {1: 1, "1": 2},
    math.nan, np.float32(0.5), 2**64 - 1, datetime.date(2026, 1, 2), [1, ["a", None]], "a\\0", {"a": np.int8(1)},
]

class Talker:
    def predict(self, frame, params=None):
        return [ODD[int(-1 - x)] if x < 0 else "x" * int(x) for x in frame["x"]]

def _load_pyfunc(path):
    return Talker()
"""
_MLMODEL = """
flavors:
  python_function:
    code: code
    loader_module: foreign_talker
    python_version: 3.11.0
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "string", "required": true}]'
  params: null
"""


def _people(texts: list[str], rows: int) -> bytes:
    """``texts`` once, in a dictionary, for the last of ``rows``."""
    indices = pa.array([0] * (rows - 1) + [len(texts) - 1], pa.int32())
    columns = {"age": [1] * rows, "hours": [1.0] * rows, "town": pa.DictionaryArray.from_arrays(indices, texts)}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


async def _listed(control: httpx.AsyncClient, deployment: str) -> list[dict[str, Any]]:
    return (await control.get("/api/v1/predictions", params={"deployment": deployment})).json()["items"]


async def test_a_row_that_could_not_be_kept_is_refused_by_its_place_and_one_at_the_limit_is_kept(
    control: httpx.AsyncClient, server: Server, models: Models
) -> None:
    await models.register("numbers", constant(5.0))
    await control.put("/api/v1/deployments/numbers", json={"model": "numbers:1"})
    await server.start()
    await server.until_serving("numbers", 1)
    path = "/deployments/numbers/invocations"
    async with server.client() as client:
        for text in ("x" * (MAX_ROW_BYTES + 1), "\x01" * (MAX_RECORD_BYTES // 6)):
            body = _people(["Ulm", text], 3)
            assert len(body) < 10_000
            refused = await client.post(path, content=body, headers=_PARQUET)
            found = refused.json()
            place = found["errors"][0]["pointer"]
            assert (refused.status_code, found["code"], place[:6]) == (413, "row_too_large", "row 3,"), found
        bomb = await client.post(path, content=_people(["x" * 50_000_000], 300), headers=_PARQUET)
        assert (bomb.status_code, len(bomb.json()["errors"])) == (413, 100)
        kept = "\n" * (MAX_ROW_BYTES - 100)
        answer = await client.post(path, content=_people([kept], 1), headers=_PARQUET)
        assert answer.status_code == 200, answer.text
        metrics = (await client.get("/metrics")).text
        assert "tidemill_request_memory_bytes 0.0" in metrics
    await server.until_shipped()
    made = answer.json()["prediction_ids"][0]
    stored = (await control.get(f"/api/v1/predictions/{made}")).json()
    assert stored["inputs"]["town"] == kept


_ODD_CODES = (
    "prediction_not_finite", "prediction_type_unsupported", "prediction_type_unsupported", "prediction_out_of_range",
    "prediction_type_unsupported", "prediction_text_unusable", "prediction_names_equal",
)  # fmt: skip
_ODD_KEPT = [None, 0.5, 2**64 - 1, "2026-01-02", [1, ["a", None]], "a\0", {"a": 1}]


async def test_an_answer_of_a_model_that_cannot_be_kept_is_an_error_of_its_row_and_nothing_is_recorded(
    control: httpx.AsyncClient, server: Server, models: Models, tmp_path: Path
) -> None:
    directory = tmp_path / "foreign"
    (directory / "code").mkdir(parents=True)
    (directory / "code" / "foreign_talker.py").write_text(_TALKER)
    (directory / "MLmodel").write_text(_MLMODEL)
    bundle = pack_bundle(directory, tmp_path / "foreign.tar")
    await models.store.upload(bundle_key(bundle.sha256), bundle.path)
    signature = {"inputs": [{"name": "x", "type": "double", "required": True}], "outputs": [], "params": []}
    allowed = {"flavor": "pyfunc", "code_allowed_by": "key_test"}
    await models.register_bundle("talker", bundle.sha256, bundle.size_bytes, signature=signature, task=None, **allowed)
    await control.put("/api/v1/deployments/talker", json={"model": "talker:1"})
    await server.start()

    async def answers() -> bool:
        return (await server.predict("talker", [{"x": 2}])).status_code == 200

    await until(answers, 60)
    await server.until_shipped()
    before = await _listed(control, "talker")
    for rows, place in ([{"x": 1}, {"x": MAX_ROW_BYTES + 1}], "/inputs/1/x"), ([{"x": 15 * 2**20}] * 9, None):
        answer = await server.predict("talker", rows)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, "prediction_too_large"), body
        assert [error["pointer"] for error in body.get("errors", [])] == ([place] if place else [])
    for number, code in enumerate(_ODD_CODES):
        answer = await server.predict("talker", [{"x": 1}, {"x": -1 - number}])
        body = answer.json()
        assert (answer.status_code, body["code"], body["errors"][0]["pointer"]) == (422, code, "/predictions/1"), body
    await server.until_shipped()
    assert await _listed(control, "talker") == before
    odd = await server.predict("talker", [{"x": -1 - len(_ODD_CODES) - number} for number in range(len(_ODD_KEPT))])
    assert [row["prediction"] for row in odd.json()["predictions"]] == _ODD_KEPT, odd.text
    await server.until_shipped()
    listed = await _listed(control, "talker")
    assert [row["output"]["prediction"] for row in listed[: len(_ODD_KEPT)]] == _ODD_KEPT[::-1]
    assert (await server.predict("talker", [{"x": 3}])).json()["predictions"][0]["prediction"] == "xxx"


async def test_a_page_of_large_predictions_ends_early_and_the_next_one_goes_on(
    live_api: LiveApi, control: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    sizes = [100, PAGE_BYTES // 2, PAGE_BYTES // 2, PAGE_BYTES + 10, 100, PAGE_BYTES // 3, 100]
    made = await add_predictions(sessions, [Predicted({"prediction": "x" * size}) for size in sizes])
    seen: list[list[str]] = []
    token: str | None = ""
    while token is not None:
        params = {"deployment": "adult-income", "page_size": 3} | ({"page_token": token} if token else {})
        answer = await control.get("/api/v1/predictions", params=params)
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert len(items) == 1 or len(answer.content) < PAGE_BYTES + 10_000
        seen.append([item["prediction_id"] for item in items])
        token = answer.json()["next_page_token"]
    in_order = [id_ for page in seen for id_ in page]
    assert sorted(in_order) == sorted(made)
    assert max(map(len, seen)) <= 3
    with Tidemill(url=live_api.url, key=live_api.key) as tidemill:
        listed = [found.prediction_id for found in tidemill.predictions.list("adult-income")]
    assert listed == in_order


async def test_a_line_of_the_ledger_beyond_the_limit_is_rejected_alone(
    control: httpx.AsyncClient, server: Server
) -> None:
    now = utc_now().replace(microsecond=0)
    ids = [id_at(now) for _ in range(2)]
    lines = [
        json.dumps(
            {"prediction_id": id_, "predicted_at": now.isoformat(), "deployment": "d", "model_name": "m",
             "model_version": 1, "request_id": None, "principal": None, "inputs": {"x": "x" * size}, "output": 1}
        )
        for id_, size in zip(ids, (MAX_RECORD_BYTES, 10), strict=True)
    ]  # fmt: skip
    content = "\n".join(lines).encode()
    assert len(content) < MAX_SEGMENT_BYTES
    headers = {"Authorization": f"Bearer {server.settings['key']}", "Content-Type": "application/x-ndjson"}
    receipt = (await control.post("/api/v1/ledger/segments", content=content, headers=headers)).json()
    assert [(row["line"], row["code"]) for row in receipt["rejected"]] == [(1, "ledger_row_too_large")]
    assert receipt["stored"] == 1
