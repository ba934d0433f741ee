"""Jobs over HTTP, through the SDK and on the command line."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import LiveApi, MakeKey, RunCli
from tests.integration.jobs.conftest import JobDesk, eventually
from tests.integration.jobs.kinds import COMPUTE, EFFECT, SLEEP, TASKS, Payload
from tests.ports import free_port
from tidemill.auth.scopes import Scope
from tidemill.client import Tidemill
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.kit.errors import Conflict, DeadlineExceeded, Invalid
from tidemill.schemas.jobs import JobEvent
from tidemill.settings.model import DatabaseSettings


async def test_a_job_is_shown_listed_by_page_and_filtered(api: httpx.AsyncClient, desk: JobDesk) -> None:
    ids = [await desk.submit(EFFECT, subject="dataset/adult") for _ in range(3)]
    other = await desk.submit(SLEEP)
    shown = (await api.get(f"/api/v1/jobs/{ids[0]}")).json()
    assert (shown["id"], shown["status"], shown["subject"], shown["attempt"]) == (ids[0], "queued", "dataset/adult", 0)
    first = (await api.get("/api/v1/jobs", params={"page_size": 2})).json()
    rest = (await api.get("/api/v1/jobs", params={"page_size": 2, "page_token": first["next_page_token"]})).json()
    assert [job["id"] for job in first["items"] + rest["items"]] == [other, *reversed(ids)]
    assert rest["next_page_token"] is None
    found = (await api.get("/api/v1/jobs", params={"kind": "test.effect", "status": "queued"})).json()
    assert [job["id"] for job in found["items"]] == list(reversed(ids))
    assert (await api.get("/api/v1/jobs", params={"status": "asleep"})).status_code == 422


async def test_an_unknown_job_is_not_found(api: httpx.AsyncClient) -> None:
    for method, path in [("GET", ""), ("GET", "/logs"), ("GET", "/events"), ("POST", ":cancel")]:
        answer = await api.request(method, f"/api/v1/jobs/job_0{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_cancelling_twice_is_a_conflict(api: httpx.AsyncClient, desk: JobDesk) -> None:
    job_id = await desk.submit(EFFECT)
    answer = await api.post(f"/api/v1/jobs/{job_id}:cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    again = await api.post(f"/api/v1/jobs/{job_id}:cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_cancelled")


async def test_reading_and_cancelling_need_their_scopes(
    anonymous_api: httpx.AsyncClient, make_key: MakeKey, desk: JobDesk
) -> None:
    job_id = await desk.submit(EFFECT)
    assert (await anonymous_api.get(f"/api/v1/jobs/{job_id}")).status_code == 401
    headers = {"Authorization": f"Bearer {await make_key(Scope.JOBS_READ)}"}
    assert (await anonymous_api.get(f"/api/v1/jobs/{job_id}", headers=headers)).status_code == 200
    assert (await anonymous_api.post(f"/api/v1/jobs/{job_id}:cancel", headers=headers)).status_code == 403


async def test_logs_are_read_from_where_one_was(
    api: httpx.AsyncClient, desk: JobDesk, worker_services: WorkerServices
) -> None:
    job_id = await desk.submit(COMPUTE, Payload(entry="double"))
    await run_pending(worker_services, TASKS)
    first = (await api.get(f"/api/v1/jobs/{job_id}/logs", params={"limit": 1})).json()
    rest = (await api.get(f"/api/v1/jobs/{job_id}/logs", params={"after": first["next_after"]})).json()
    assert {line["message"] for line in first["items"] + rest["items"]} == {"a stray print", "half way"}
    assert len(first["items"]) == len(rest["items"]) == 1


async def test_events_of_an_ended_job_are_its_lines_and_its_last_state(
    api: httpx.AsyncClient, desk: JobDesk, worker_services: WorkerServices
) -> None:
    job_id = await desk.submit(COMPUTE, Payload(entry="double"))
    await run_pending(worker_services, TASKS)
    answer = await api.get(f"/api/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == ["log", "log", "progress", "state"]
    seqs = [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: ")]
    resumed = await api.get(f"/api/v1/jobs/{job_id}/events", headers={"Last-Event-ID": seqs[0]})
    assert [line for line in resumed.text.splitlines() if line.startswith("id: ")] == [f"id: {seqs[1]}"]


async def test_the_sdk_follows_a_job_while_it_runs(
    live_api: LiveApi, desk: JobDesk, worker_services: WorkerServices
) -> None:
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=os.devnull, ticks=12))
    seen: list[JobEvent] = []
    with Tidemill(live_api.url, live_api.key) as tidemill:
        waiting = asyncio.create_task(asyncio.to_thread(tidemill.jobs.wait, job_id, 60, seen.append))
        await run_pending(worker_services, TASKS)
        job = await waiting
    assert job.status == "succeeded"
    states = [event.state.status for event in seen if event.state]
    assert states[-1] == "succeeded"
    assert "running" in states
    done = [event.progress.done for event in seen if event.progress]
    assert done == sorted(done)
    assert done[-1] == 12
    assert len(done) >= 3


async def test_the_sdk_raises_the_jobs_own_error_and_its_own_deadline(
    live_api: LiveApi, desk: JobDesk, worker_services: WorkerServices
) -> None:
    with Tidemill(live_api.url, live_api.key) as tidemill:
        waiting = await desk.submit(EFFECT)
        with pytest.raises(DeadlineExceeded):
            await asyncio.to_thread(tidemill.jobs.wait, waiting, 0.5)
        await asyncio.to_thread(tidemill.jobs.cancel, waiting)
        with pytest.raises(Conflict):
            await asyncio.to_thread(tidemill.jobs.cancel, waiting)
        refused = await desk.submit(COMPUTE, Payload(entry="refuse"))
        await run_pending(worker_services, TASKS)
        with pytest.raises(Invalid) as raised:
            await asyncio.to_thread(tidemill.jobs.result, refused)
        assert raised.value.code == "column_missing"
        assert [job.id for job in await asyncio.to_thread(lambda: list(tidemill.jobs.list("failed")))] == [refused]
        logged = await asyncio.to_thread(lambda: list(tidemill.jobs.logs(refused)))
        assert [line.level for line in logged] == ["error"]


async def test_the_command_line_lists_shows_waits_and_cancels(
    run_cli: RunCli, bytecode: dict[str, str], desk: JobDesk, worker_services: WorkerServices
) -> None:
    async def job(*arguments: str) -> tuple[int, str, str]:
        return await run_cli("--output", "json", "job", *arguments, environment=bytecode)

    good = await desk.submit(COMPUTE, Payload(entry="double", value=4))
    bad = await desk.submit(COMPUTE, Payload(entry="refuse"))
    await run_pending(worker_services, TASKS)
    waiting = await desk.submit(EFFECT)
    code, out, _ = await job("list", "--status", "queued")
    assert (code, [item["id"] for item in json.loads(out)]) == (0, [waiting])
    code, out, _ = await run_cli("job", "show", good, environment=bytecode)
    assert (code, "result value" in out) == (0, True)
    code, out, err = await job("wait", good)
    assert (code, json.loads(out)["result"]["value"], "succeeded" in err) == (0, 8, True)
    code, out, err = await job("wait", bad)
    assert (code, out, "column_missing" in err) == (1, "", True)
    code, out, _ = await job("logs", "-f", good)
    assert (code, "half way" in out) == (0, True)
    assert (await job("wait", waiting, "--timeout", "1s"))[0] == 124
    assert (await job("cancel", waiting))[0] == 0
    assert (await job("cancel", waiting))[0] == 5
    assert (await job("show", "job_0"))[0] == 4


async def test_an_open_stream_does_not_keep_the_api_from_stopping(
    database: DatabaseSettings, desk: JobDesk, make_key: MakeKey, bytecode: dict[str, str], tmp_path: Path
) -> None:
    job_id = await desk.submit(EFFECT)
    port = free_port()
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")},
        **bytecode,
        "TIDEMILL_ENVIRONMENT": "test",
        "TIDEMILL_DATABASE__URL": database.url.get_secret_value(),
        "TIDEMILL_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
        "TIDEMILL_API__PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tidemill.api", env=environ, cwd=tmp_path)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/readyz")).status_code == 200
                return False

            await eventually(ready)
            headers = {"Authorization": f"Bearer {await make_key()}"}
            async with http.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers) as stream:
                lines = stream.aiter_lines()
                while not (await anext(lines)).startswith("data:"):
                    pass
                process.terminate()
                await asyncio.wait_for(process.wait(), 8)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_an_open_stream_ends_once_its_key_is_revoked(
    live_api: LiveApi, desk: JobDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.deps.access.RECHECK_SECONDS", 0.1)
    job_id = await desk.submit(EFFECT)
    headers = {"Authorization": f"Bearer {live_api.key}"}
    async with httpx.AsyncClient(base_url=live_api.url, headers=headers, timeout=20) as http:
        created = (await http.post("/api/v1/keys", json={"name": "watcher", "scopes": ["jobs:read"]})).json()
        own = {"Authorization": f"Bearer {created['token']}"}
        async with http.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=own) as stream:
            lines = stream.aiter_lines()
            while not (await anext(lines)).startswith("data:"):
                pass
            (await http.post(f"/api/v1/keys/{created['id']}:revoke")).raise_for_status()
            async with asyncio.timeout(20):
                assert [line async for line in lines if line.startswith("data:")] == []
        assert (await http.get(f"/api/v1/jobs/{job_id}")).json()["status"] == "queued"
