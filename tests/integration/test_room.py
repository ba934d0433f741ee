"""How much one key may have the platform do at once: jobs that wait, and files that are on their way."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.disks import SmallDisk, small_disk
from tests.integration.conftest import MakeKey
from tidemill.auth.scopes import Scope
from tidemill.kit.disk_room import require_disk_room, within_disk_room
from tidemill.kit.errors import Unavailable
from tidemill.settings.model import ApiSettings, Settings

_STARTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "datasets_versions_create": ("/api/v1/datasets/people/versions", {}),
    "training_runs_create": ("/api/v1/training-runs", {"dataset": "people", "target": "b"}),
    "models_versions_import": ("/api/v1/models/wealth/versions:import", {"model_uri": "models:/m-1"}),
    "models_compare": ("/api/v1/models/wealth:compare", {"version": 1, "other": 2}),
    "models_promote": ("/api/v1/models/wealth:promote", {"version": 1}),
    "monitoring_reports_create": ("/api/v1/monitoring/reports", {"deployment": "wealth"}),
}
"""Every operation that starts a job for its caller, with a body that fits its schema."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    own = ApiSettings(max_body_bytes=1 << 20, max_upload_bytes=64 << 20, max_queued_jobs_per_key=2, max_uploads=2)
    return settings.model_copy(update={"api": own})


def _outcome(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


async def test_no_route_takes_a_job_of_a_key_that_has_too_many_waiting_until_one_ends(
    api: httpx.AsyncClient, make_key: MakeKey
) -> None:
    described = api._transport.app.openapi()["paths"].values()  # type: ignore[attr-defined]
    starters = {each["operationId"] for path in described for each in path.values() if "202" in each["responses"]}
    assert starters == set(_STARTERS)
    push = "/api/v1/datasets/people/versions"
    started = [await api.post(push, content=b"a,b\n1,%d\n" % number) for number in range(2)]
    assert [answer.status_code for answer in started] == [202, 202]
    for path, body in _STARTERS.values():
        assert _outcome(await api.post(path, json=body)) == (409, "jobs_too_many"), path
    other = {"Authorization": f"Bearer {await make_key(Scope.DATASETS_WRITE)}"}
    assert (await api.post(push, content=b"a,b\n1,3\n", headers=other)).status_code == 202
    forced = {"version": 1, "force": True, "reason": "An outage"}
    assert _outcome(await api.post("/api/v1/models/wealth:promote", json=forced)) == (404, "model_not_found")
    (await api.post(f"{started[0].headers['location']}:cancel")).raise_for_status()
    assert (await api.post(push, content=b"a,b\n1,4\n")).status_code == 202


@pytest.mark.parametrize("path", ["/api/v1/datasets/people/versions", "/api/v1/feedback/files"])
async def test_files_on_their_way_are_bounded_for_each_key_and_for_all(
    anonymous_api: httpx.AsyncClient, make_key: MakeKey, path: str
) -> None:
    begun, rest = asyncio.Semaphore(0), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        begun.release()
        yield b"prediction_id,truth\n"
        await rest.wait()

    def send(key: str, content: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
        return anonymous_api.post(path, content=content, headers=headers)

    keys = [await make_key(Scope.DATASETS_WRITE, Scope.FEEDBACK_WRITE) for _ in range(3)]
    sending = []
    for key in keys[:2]:
        sending.append(asyncio.create_task(send(key, slow())))
        await asyncio.wait_for(begun.acquire(), 10)
        assert _outcome(await send(key, b"a\n1\n")) == (503, "uploads_busy")
    assert _outcome(await send(keys[2], b"a\n1\n")) == (503, "uploads_busy")
    rest.set()
    await asyncio.wait_for(asyncio.gather(*sending), 10)
    assert _outcome(await send(keys[2], b"prediction_id,truth\n"))[0] != 503


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(40 * 2**20) as made:
        yield made


async def test_a_file_ends_before_it_takes_the_reserve_of_the_disk_it_is_written_to(disk: SmallDisk) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(2**23)

    written = disk.path / "file"

    async def write() -> None:
        with written.open("wb", buffering=0) as file:
            async for piece in within_disk_room(pieces(), disk.path):
                file.write(piece)

    with pytest.raises(Unavailable) as refused:
        await write()
    assert refused.value.code == "disk_full"
    assert shutil.disk_usage(disk.path).free >= 2 * 2**20
    with pytest.raises(Unavailable):
        await require_disk_room(disk.path, 2**25)
    written.unlink()
    await require_disk_room(disk.path, 2**25)
    await require_disk_room(Path("/nowhere"), 2**60)
