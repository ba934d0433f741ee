"""While the object store's disk is not mounted, everything waits, says so, and goes on once it is back."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse

from tests.integration.conftest import RunJobs
from tests.integration.mounts import Mount, UnmountedAtUpload, opened
from tidemill.adapters.object_store import ObjectStore
from tidemill.adapters.store_mark import FOREIGN, MARK
from tidemill.db.engine import SessionFactory
from tidemill.features.datasets import collector as datasets_collector
from tidemill.features.registry import collector as registry_collector
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.jobs.runner import Runner
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import DeadlineExceeded, Unavailable
from tidemill.platform.mlflow_store import MlflowStoreMiddleware
from tidemill.settings.model import Settings
from tidemill.worker.main import _web_app
from tidemill.worker.tasks import TASKS

VERSIONS = "/api/v1/datasets/flowers/versions"
CSV = b"name,petals\nrose,5\ntulip,6\n"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Without a single retry for other passing reasons."""
    worker = settings.worker.model_copy(update={"retry_backoff_seconds": 0.05, "max_retries": 0})
    return settings.model_copy(update={"worker": worker})


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "objects")


@pytest.fixture
async def store(mount: Mount, sessions: SessionFactory) -> ObjectStore:
    store = opened(mount.path, sessions)
    await store.ensure_right()
    return store


async def push(api: httpx.AsyncClient, content: bytes | AsyncIterator[bytes] = CSV) -> httpx.Response:
    return await api.post(VERSIONS, params={"filename": "flowers.csv"}, content=content)


async def job_of(api: httpx.AsyncClient, pushed: httpx.Response) -> dict[str, Any]:
    return dict((await api.get(pushed.headers["location"])).json())


async def test_a_push_is_refused_before_and_in_the_middle_of_its_upload(
    api: httpx.AsyncClient, mount: Mount, store: ObjectStore
) -> None:
    async def unmounted_midway() -> AsyncIterator[bytes]:
        yield CSV
        mount.unmount()
        yield b"lily,6\n"

    refused = await push(api, unmounted_midway())
    assert (refused.status_code, refused.json()["code"]) == (503, FOREIGN)
    refused = await push(api)
    assert (refused.status_code, refused.json()["code"]) == (503, FOREIGN)
    mount.mount()
    assert (await push(api)).status_code == 202


async def test_a_file_that_was_pushed_waits_for_the_store_and_costs_its_job_no_attempt(
    api: httpx.AsyncClient, mount: Mount, run_jobs: RunJobs
) -> None:
    pushed = await push(api)
    mount.unmount()
    with contextlib.suppress(DeadlineExceeded):
        await run_jobs(0.5)
    job = await job_of(api, pushed)
    assert (job["status"], job["error"]["code"]) == ("queued", FOREIGN)
    assert job["attempt"] > 1
    logs = (await api.get(f"{pushed.headers['location']}/logs")).json()["items"]
    assert any("lacks its mark" in line["message"] for line in logs)
    assert (await api.get(f"{VERSIONS}/1")).status_code == 404
    mount.mount()
    await run_jobs()
    assert (await job_of(api, pushed))["status"] == "succeeded"
    assert (await api.get(f"{VERSIONS}/1/raw")).content == CSV


async def test_a_disk_that_goes_while_parts_are_stored_leaves_no_version_ready(
    api: httpx.AsyncClient, mount: Mount, sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    pushed = await push(api)
    losing = replace(worker_services, store=UnmountedAtUpload(mount, sessions, "parquet"))
    with contextlib.suppress(DeadlineExceeded):
        await run_pending(losing, TASKS, 0)
    assert ((await job_of(api, pushed))["status"], list(mount.path.iterdir())) == ("queued", [])
    assert (await api.get(f"{VERSIONS}/1")).status_code == 404
    mount.mount()
    await run_pending(losing, TASKS)
    part = await api.get(f"{VERSIONS}/1/parts/0")
    assert (part.status_code, part.content[:4]) == (200, b"PAR1")


async def test_api_and_worker_are_not_ready_and_doctor_says_what_to_do(
    api: httpx.AsyncClient, mount: Mount, worker_services: WorkerServices
) -> None:
    worker = httpx.ASGITransport(_web_app(Runner(worker_services, TASKS), CollectorRegistry()))
    async with httpx.AsyncClient(transport=worker, base_url="http://worker") as worker_api:
        for unmounted in (False, True):
            if unmounted:
                mount.unmount()
            for client in (api, worker_api):
                ready = await client.get("/readyz", params={"verbose": ""})
                assert (ready.status_code, ready.json()["checks"]["object_store"]) == (
                    (503, False) if unmounted else (200, True)
                )
    checks = {each["part"]: each for each in (await api.get("/api/v1/health/checks")).json()["checks"]}
    assert checks["object store"]["state"] == "problem"
    assert "adopt-store" in checks["object store"]["advice"]
    mount.mount()


Collect = Callable[[ObjectStore, SessionFactory, Any], Awaitable[object]]


@pytest.mark.parametrize("collect", [datasets_collector.collect, registry_collector.collect])
@pytest.mark.parametrize("mark", [None, "store_of_another_platform"])
async def test_nothing_is_collected_in_a_store_that_is_another_platforms(
    collect: Collect, mark: str | None, mount: Mount, store: ObjectStore, sessions: SessionFactory
) -> None:
    for key in ("datasets/uploads/u", "datasets/raw/r", "datasets/parquet/p/0", "bundles/b.tar", "holdouts/h.parquet"):
        await store.put(key, b"of somebody else")
    there = len(await store.list("datasets/"))
    if mark is None:
        (mount.path / MARK).unlink()
    else:
        await store.write_mark(mark)
    with pytest.raises(Unavailable) as refused:
        await collect(store, sessions, utc_now() + timedelta(minutes=1))
    assert refused.value.code == FOREIGN
    assert len(list((mount.path / "datasets").rglob("*/*"))) >= there
    assert (mount.path / "bundles" / "b.tar").exists()
    assert (mount.path / "holdouts" / "h.parquet").exists()


async def test_mlflow_neither_reads_nor_writes_artifacts_of_a_store_that_is_away(
    mount: Mount, store: ObjectStore
) -> None:
    app = MlflowStoreMiddleware(PlainTextResponse("MLflow's"), mount.path)
    paths = {
        "/api/2.0/mlflow-artifacts/artifacts/1/x": 503,
        "/api/2.0/mlflow/artifacts/list": 503,
        "/get-artifact": 503,
        "/ajax-api/2.0/mlflow/upload-artifact": 503,
        "/api/2.0/mlflow/runs/search": 200,
        "/health": 200,
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mlflow") as mlflow:
        assert {(await mlflow.put(path)).status_code for path in paths} == {200}
        mount.unmount()
        assert {path: (await mlflow.put(path)).status_code for path in paths} == paths
        mount.mount()
        assert (await mlflow.get("/get-artifact")).status_code == 200
