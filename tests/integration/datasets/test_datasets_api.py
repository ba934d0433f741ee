"""Datasets from the upload to the download, over HTTP, with real jobs in real children."""

import gzip
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from tests.integration.conftest import RunJobs
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.datasets import service
from tidemill.features.datasets.collector import collect
from tidemill.features.datasets.keys import raw_key
from tidemill.kit.clock import utc_now

FLOWERS = b"name,petals,height,seen\nrose,5,40.5,2024-05-01\ntulip,6,30,2024-04-01\nlily,6,,2024-06-01\n"


async def push(api: httpx.AsyncClient, content: bytes, name: str = "flowers", **params: Any) -> dict[str, Any]:
    response = await api.post(f"/api/v1/datasets/{name}/versions", content=content, params=params)
    assert response.status_code in (200, 202), response.text
    return {"status": response.status_code, "location": response.headers.get("location"), **response.json()}


async def ingest(api: httpx.AsyncClient, run_jobs: RunJobs, content: bytes, **params: Any) -> dict[str, Any]:
    """The job of a push, ended."""
    pushed = await push(api, content, **params)
    await run_jobs()
    return dict((await api.get(pushed["location"])).json())


async def test_a_pushed_file_becomes_a_numbered_version_with_schema_and_profile(
    api: httpx.AsyncClient, run_jobs: RunJobs
) -> None:
    job = await ingest(api, run_jobs, FLOWERS, filename="flowers.csv")
    assert (job["status"], job["result"]["number"]) == ("succeeded", 1)
    version = (await api.get("/api/v1/datasets/flowers/versions/latest")).json()
    assert version["sha256"] == hashlib.sha256(FLOWERS).hexdigest()
    assert (version["row_count"], version["column_count"], version["filename"]) == (3, 4, "flowers.csv")
    columns = [(column["name"], column["type"], column["nullable"]) for column in version["table_schema"]["columns"]]
    assert columns == [
        ("name", "string", False), ("petals", "integer", False), ("height", "float", True), ("seen", "date", False),
    ]  # fmt: skip
    height = version["profile"]["columns"]["height"]
    assert (height["missing"], height["distinct"], height["min"], height["max"]) == (1, 2, 30.0, 40.5)
    assert sum(height["histogram"]["counts"]) == 2
    listed = (await api.get("/api/v1/datasets")).json()["items"]
    assert [(item["name"], item["version_count"], item["row_count"]) for item in listed] == [("flowers", 1, 3)]


async def test_the_same_bytes_again_give_the_same_version(api: httpx.AsyncClient, run_jobs: RunJobs) -> None:
    first = await push(api, FLOWERS)
    waiting = await push(api, FLOWERS)
    assert (waiting["status"], waiting["version_id"], waiting["job_id"]) == (202, first["version_id"], first["job_id"])
    await run_jobs()
    again = await push(api, FLOWERS, new_contract=True)
    assert (again["status"], again["state"], again["version_id"]) == (200, "ready", first["version_id"])
    other = await push(api, FLOWERS, type=["petals=string"], new_contract=True)
    assert (other["status"], other["version_id"] != first["version_id"]) == (202, True)


async def test_a_version_that_breaks_the_contract_is_refused_by_place_unless_it_is_a_new_contract(
    api: httpx.AsyncClient, run_jobs: RunJobs
) -> None:
    await ingest(api, run_jobs, FLOWERS)
    broken = b"name,petals,height,seen,extra\nrose,5.5,40,2024-05-01,1\n,many,30,yesterday,1\n"
    job = await ingest(api, run_jobs, broken)
    assert (job["status"], job["error"]["code"]) == ("failed", "contract_broken")
    places = {(problem["pointer"], problem["code"]) for problem in job["error"]["problems"]}
    assert places == {
        ("column extra", "column_unexpected"),
        ("row 2, column petals", "type_mismatch"),
        ("row 3, column petals", "type_mismatch"),
        ("row 3, column name", "missing_value"),
        ("row 3, column seen", "type_mismatch"),
    }
    assert "many" not in str(job["error"])
    assert "yesterday" not in str(job["error"])
    assert len((await api.get("/api/v1/datasets/flowers/versions")).json()["items"]) == 1
    job = await ingest(api, run_jobs, broken, new_contract=True)
    assert (job["status"], job["result"]["number"]) == ("succeeded", 2)
    contract = (await api.get("/api/v1/datasets/flowers")).json()["contract"]
    assert [column["name"] for column in contract["columns"]] == ["name", "petals", "height", "seen", "extra"]


async def test_a_later_version_is_read_with_the_contracts_types_and_order(
    api: httpx.AsyncClient, run_jobs: RunJobs
) -> None:
    await ingest(api, run_jobs, FLOWERS)
    job = await ingest(api, run_jobs, b"seen,height,petals,name\n2024-07-01,12,4,007\n")
    assert job["status"] == "succeeded"
    version = (await api.get("/api/v1/datasets/flowers/versions/2")).json()
    types = [(column["name"], column["type"]) for column in version["table_schema"]["columns"]]
    assert types == [("name", "string"), ("petals", "integer"), ("height", "float"), ("seen", "date")]


async def test_a_refused_file_leaves_no_dataset_and_can_be_pushed_again_with_a_hint_followed(
    api: httpx.AsyncClient, run_jobs: RunJobs
) -> None:
    rows = b"a,b\n" + b"1,2\n" * 50 + b"oops,2\n"
    job = await ingest(api, run_jobs, rows)
    assert job["error"]["code"] == "mixed_types"
    assert job["error"]["problems"][0]["pointer"] == "row 52, column a"
    assert (await api.get("/api/v1/datasets/flowers")).status_code == 404
    assert (await api.get("/api/v1/datasets")).json()["items"] == []
    job = await ingest(api, run_jobs, rows, missing=["oops"])
    assert (job["status"], job["result"]["number"]) == ("succeeded", 1)


async def test_raw_file_and_parquet_come_back(api: httpx.AsyncClient, run_jobs: RunJobs, tmp_path: Path) -> None:
    packed = gzip.compress(FLOWERS)
    await ingest(api, run_jobs, packed, filename='gärten "alt".csv.gz')
    raw = await api.get("/api/v1/datasets/flowers/versions/1/raw")
    assert raw.content == packed
    assert "g%C3%A4rten" in raw.headers["content-disposition"]
    part = await api.get("/api/v1/datasets/flowers/versions/1/parts/0")
    (tmp_path / "part.parquet").write_bytes(part.content)
    assert pq.read_table(tmp_path / "part.parquet").column("name").to_pylist() == ["rose", "tulip", "lily"]
    assert part.headers["etag"] == f'"{hashlib.sha256(part.content).hexdigest()}"'
    assert (await api.get("/api/v1/datasets/flowers/versions/1/parts/1")).status_code == 404


async def test_diff_tells_columns_rows_and_figures(api: httpx.AsyncClient, run_jobs: RunJobs) -> None:
    await ingest(api, run_jobs, FLOWERS)
    await ingest(api, run_jobs, b"name,petals,colour\nrose,7,red\n", new_contract=True)
    diff = (await api.get("/api/v1/datasets/flowers/versions/1/diff/2")).json()
    assert (diff["row_count_before"], diff["row_count_after"]) == (3, 1)
    assert {(change["name"], change["change"]) for change in diff["columns"]} == {
        ("height", "removed"), ("seen", "removed"), ("colour", "added"),
    }  # fmt: skip
    assert {"column": "petals", "figure": "max", "before": 6, "after": 7} in diff["figures"]


async def test_a_pinned_version_is_not_deleted(
    api: httpx.AsyncClient, run_jobs: RunJobs, sessions: SessionFactory, store: ObjectStore, tmp_path: Path
) -> None:
    pushed = await push(api, FLOWERS)
    await run_jobs()
    async with transaction(sessions) as session:
        await service.pin(session, pushed["version_id"], "model/garden:1")
        await service.pin(session, pushed["version_id"], "model/garden:1")
    for path in ("flowers/versions/1", "flowers"):
        refused = await api.delete(f"/api/v1/datasets/{path}")
        assert (refused.status_code, refused.json()["code"]) == (409, "dataset_version_in_use")
        assert "model/garden:1" in refused.json()["detail"]
    async with transaction(sessions) as session:
        version = await service.get_version(session, "flowers", 1)
        await service.unpin(session, pushed["version_id"], "model/garden:1")
    assert [path.name for path in await service.download_parts(store, version, tmp_path)] == ["part-00000.parquet"]
    assert (await api.delete("/api/v1/datasets/flowers/versions/1")).status_code == 204
    assert (await api.get("/api/v1/datasets/flowers/versions/1")).status_code == 404
    job = await ingest(api, run_jobs, FLOWERS)
    assert job["result"]["number"] == 2


async def test_orphans_are_collected_and_what_is_in_use_stays(
    api: httpx.AsyncClient, run_jobs: RunJobs, sessions: SessionFactory, store: ObjectStore
) -> None:
    await ingest(api, run_jobs, FLOWERS)
    await ingest(api, run_jobs, b"a,b\n", name="broken")
    await store.put("datasets/uploads/up_0", b"broken off")
    await store.put(raw_key("0" * 64), b"nobody's")
    await store.put("datasets/parquet/0/part-00000.parquet", b"nobody's")
    before = await store.list("datasets/")
    assert (await collect(store, sessions, utc_now() - timedelta(hours=1)))["raw"] == 0
    removed = await collect(store, sessions, utc_now() + timedelta(minutes=1))
    assert removed == {"versions": 0, "uploads": 1, "raw": 2, "parts": 1}
    assert len(await store.list("datasets/")) == len(before) - 4
    assert (await api.get("/api/v1/datasets/flowers/versions/1/raw")).content == FLOWERS


@pytest.mark.parametrize(
    ("content", "params", "status", "code"),
    [
        (b"", {}, 422, "file_empty"),
        (b"x" * (65 << 20), {}, 413, "body_too_large"),
        (b"a,b\n1,2\n", {"format": "xml"}, 422, "request_invalid"),
        (b"a,b\n1,2\n", {"type": "a"}, 422, "type_malformed"),
        (b"a,b\n1,2\n", {"typo": "a"}, 422, "request_invalid"),
    ],
)
async def test_a_bad_upload_is_refused_at_once_and_leaves_no_bytes(
    api: httpx.AsyncClient, store: ObjectStore, content: bytes, params: dict[str, str], status: int, code: str
) -> None:
    response = await api.post("/api/v1/datasets/flowers/versions", content=content, params=params)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert await store.list("datasets/") == []


async def test_a_job_that_was_cancelled_does_not_block_the_next_push(api: httpx.AsyncClient, run_jobs: RunJobs) -> None:
    first = await push(api, FLOWERS)
    await api.post(f"{first['location']}:cancel")
    job = await ingest(api, run_jobs, FLOWERS)
    assert (job["status"], job["id"] != first["job_id"]) == ("succeeded", True)
