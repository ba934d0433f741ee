"""An object that is not what was written is neither read by a job nor handed out: disks change bits without a word."""

from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import RunJobs
from tidemill.adapters.object_store import ObjectStore
from tidemill.kit.errors import Unavailable
from tidemill.kit.hashing import sha256_of_bytes

_ROWS = b"x,y\n" + b"".join(b"%d,%d\n" % (number, number % 2) for number in range(60))


async def _flip(store: ObjectStore, prefix: str) -> None:
    (key,) = await store.list(prefix)
    content = bytearray(await store.get(key))
    content[len(content) // 3] ^= 1
    await store.put(key, bytes(content))


async def test_a_damaged_part_is_neither_trained_on_nor_handed_out(
    api: httpx.AsyncClient, run_jobs: RunJobs, store: ObjectStore
) -> None:
    pushed = await api.post("/api/v1/datasets/flips/versions", params={"filename": "x.csv"}, content=_ROWS)
    assert pushed.status_code == 202, pushed.text
    await run_jobs()
    await _flip(store, "datasets/parquet/")
    await _flip(store, "datasets/raw/")
    for file in ("parts/0", "raw"):
        refused = await api.get(f"/api/v1/datasets/flips/versions/1/{file}")
        assert (refused.status_code, refused.json()["code"]) == (503, "object_damaged")
    started = (await api.post("/api/v1/training-runs", json={"dataset": "flips", "target": "y", "trials": 1})).json()
    await run_jobs()
    job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
    assert (job["status"], job["error"]["code"]) == ("queued", "object_damaged")  # a few more attempts, then it fails
    assert "check-store" in job["error"]["detail"]


async def test_a_large_damaged_object_breaks_off_before_its_end(store: ObjectStore, tmp_path: Path) -> None:
    content, pieces = bytes(20 * 2**20), list[bytes]()

    async def take() -> None:
        async for piece in store.checked_stream("figures/x", sha256_of_bytes(b"another")):
            pieces.append(piece)

    await store.put("figures/x", content)
    with pytest.raises(Unavailable):
        await take()
    assert 0 < sum(map(len, pieces)) < len(content)
    with pytest.raises(Unavailable):
        await store.download("figures/x", tmp_path / "x", sha256_of_bytes(b"another"))
    assert list(tmp_path.glob("x*")) == []
    await store.download("figures/x", tmp_path / "x", sha256_of_bytes(content))
    assert (tmp_path / "x").read_bytes() == content
    with pytest.raises(Unavailable):
        await store.get("figures/x", sha256_of_bytes(b"another"))
