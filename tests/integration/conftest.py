"""The real api on a real database, with the production middleware."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.integration.mlflow_server import mlflow_server  # noqa: F401 - a fixture
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.api.app import create_app
from tidemill.api.main import build as build_api
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.db.engine import SessionFactory, transaction
from tidemill.deps import ApiServices
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.settings.model import (
    ApiSettings,
    DatabaseSettings,
    MlflowSettings,
    ObjectStoreSettings,
    Settings,
    WorkerSettings,
)
from tidemill.web.metrics import create_registry
from tidemill.web.server import server_config
from tidemill.worker.tasks import TASKS

MakeKey = Callable[..., Awaitable[str]]
RunJobs = Callable[..., Awaitable[None]]
RunCli = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def settings(database: DatabaseSettings, tmp_path: Path) -> Settings:
    """Settings of this test's platform; MLflow points at a closed port unless a test brings a server."""
    return Settings(
        environment="test",
        data_dir=tmp_path,
        database=database,
        mlflow=MlflowSettings(url="http://127.0.0.1:9", timeout_seconds=5),
        api=ApiSettings(max_body_bytes=1 << 20, max_upload_bytes=64 << 20),
        worker=WorkerSettings(scratch_dir=tmp_path / "scratch"),
    )


@pytest.fixture
async def mlflow(settings: Settings) -> AsyncIterator[MlflowRest]:
    async with MlflowRest(settings.mlflow) as client:
        yield client


@pytest.fixture
async def worker_services(
    settings: Settings, sessions: SessionFactory, store: ObjectStore, mlflow: MlflowRest
) -> WorkerServices:
    return WorkerServices(settings=settings, sessions=sessions, store=store, mlflow=mlflow)


@pytest.fixture
def make_key(sessions: SessionFactory, settings: Settings) -> MakeKey:
    """``await make_key(Scope.PREDICT)`` gives the token of a new key."""

    async def make(*scopes: Scope) -> str:
        async with transaction(sessions) as session:
            new = NewKey("test", scopes or (Scope.ADMIN,))
            return (await create_key(session, new, settings.environment, None))[1]

    return make


@pytest.fixture
async def anonymous_api(
    settings: Settings, sessions: SessionFactory, store: ObjectStore, mlflow: MlflowRest
) -> AsyncIterator[httpx.AsyncClient]:
    """The api without a key."""
    services = ApiServices(settings, sessions, store, mlflow, create_registry())
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture
async def api(anonymous_api: httpx.AsyncClient, make_key: MakeKey) -> httpx.AsyncClient:
    """The api with an admin key."""
    anonymous_api.headers["Authorization"] = f"Bearer {await make_key()}"
    return anonymous_api


@pytest.fixture
def run_jobs(worker_services: WorkerServices) -> RunJobs:
    """``await run_jobs()`` runs every queued job, and those they enqueue, with the real runner and real children."""

    async def run(timeout_seconds: float = 120) -> None:
        await run_pending(worker_services, TASKS, timeout_seconds)

    return run


@dataclass(frozen=True)
class LiveApi:
    """The api as a real server on loopback, for the SDK and the command line."""

    url: str
    key: str


@pytest.fixture
async def live_api(settings: Settings, make_key: MakeKey, tmp_path: Path) -> AsyncIterator[LiveApi]:
    """Runs in a thread with its own event loop, on the same database and object store as the test."""
    own = settings.model_copy(update={"object_store": ObjectStoreSettings(url=f"file://{tmp_path}/objects")})
    server = uvicorn.Server(server_config(build_api(own), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    async with asyncio.timeout(120):
        while not server.started:
            await asyncio.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield LiveApi(f"http://127.0.0.1:{port}", await make_key())
    server.should_exit = True
    await asyncio.to_thread(thread.join, 20)


@pytest.fixture
def run_cli(live_api: LiveApi, tmp_path: Path) -> RunCli:
    """``await run_cli("key", "list")`` runs the real command in a process of its own: (exit code, stdout, stderr)."""

    async def run(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tidemill.cli.main", *arguments,
            env={**os.environ, "TIDEMILL_URL": live_api.url, "TIDEMILL_API_KEY": live_api.key, **(environment or {})},
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 120)
        return process.returncode or 0, out.decode(), err.decode()

    return run
