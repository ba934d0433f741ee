"""A real model server over HTTP, following a real api on a real database."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tests.integration.conftest import LiveApi, MakeKey
from tests.integration.serving.models import Models
from tests.ports import free_port
from tidemill.adapters.object_store import ObjectStore
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory
from tidemill.model_server.main import build
from tidemill.settings.model import ModelServerSettings, Settings
from tidemill.web.server import server_config

_START_TIMEOUT_SECONDS = 180
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the system's certificates for each client takes longer than the requests."""


async def until(holds: Callable[[], Awaitable[bool]], timeout_seconds: float = 20) -> None:
    """Wait until ``holds``; fails the test when it does not in time."""
    async with asyncio.timeout(timeout_seconds):
        while not await holds():
            await asyncio.sleep(0.05)


class Server:
    """A model server with its own state directory; the subclasses say how it runs."""

    def __init__(self, folder: Path, live_api: LiveApi, serving_key: str, predict_key: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.state = folder / "model-server"
        self.predict_key = predict_key
        self.settings = {
            "port": str(self.port),
            "api_url": live_api.url,
            "key": serving_key,
            "state_dir": str(self.state),
            "refresh_seconds": "0.1",
            "ship_seconds": "0.1",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key or self.predict_key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, verify=_NO_TLS)

    async def start(self, **settings: str) -> None:
        """Start and wait until it is ready. ``settings`` of this start alone."""
        self.port = int(settings.get("port", self.port))
        self.launch(self.settings | settings)
        await until(self.is_ready, _START_TIMEOUT_SECONDS)

    async def is_ready(self) -> bool:
        assert self.is_running
        try:
            async with self.client() as client:
                return (await client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def until_serving(self, deployment: str, version: int, timeout_seconds: float = 20) -> None:
        async def serves() -> bool:
            answer = await self.predict(deployment, [{"age": 1, "hours": 1}])
            return answer.headers.get("x-model-version") == str(version)

        await until(serves, timeout_seconds)

    async def predict(self, deployment: str, rows: list[dict[str, Any]], key: str | None = None) -> httpx.Response:
        async with self.client(key) as client:
            return await client.post(f"/api/v1/deployments/{deployment}/predict", json={"inputs": rows})

    async def until_shipped(self, timeout_seconds: float = 20) -> None:
        """Wait until nothing waits to be shipped."""

        async def shipped() -> bool:
            return not list((self.state / "ledger").glob("*.wal"))

        await until(shipped, timeout_seconds)

    @property
    def is_running(self) -> bool:
        raise NotImplementedError

    def launch(self, settings: dict[str, str]) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """As an operator would; returns when it has ended."""
        raise NotImplementedError


class ServerThread(Server):
    """The real server on a loop of its own in this process: starts quickly, since everything is imported."""

    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def launch(self, settings: dict[str, str]) -> None:
        app = build(Settings(environment="test", model_server=ModelServerSettings.model_validate(settings)))
        self._server = uvicorn.Server(server_config(app, "127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self.is_running


class ServerProcess(Server):
    """``python -m tidemill.model_server``, to be killed."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self, settings: dict[str, str]) -> None:
        own = {f"TIDEMILL_MODEL_SERVER__{name.upper()}": value for name, value in settings.items()}
        with (self.folder / "model-server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tidemill.model_server"],
                env={**os.environ, "TIDEMILL_ENVIRONMENT": "test", **own}, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self.is_running:
            self._process.terminate()
            assert self._process.wait(30) in (0, -signal.SIGTERM)


@pytest.fixture
def models(sessions: SessionFactory, store: ObjectStore, tmp_path: Path) -> Models:
    return Models(sessions, store, tmp_path)


@pytest.fixture
async def server(live_api: LiveApi, make_key: MakeKey, tmp_path: Path) -> AsyncIterator[ServerThread]:
    """Not started yet."""
    thread = ServerThread(tmp_path, live_api, await make_key(Scope.SERVING), await make_key(Scope.PREDICT))
    yield thread
    await asyncio.to_thread(thread.stop)


@pytest.fixture
async def server_process(live_api: LiveApi, make_key: MakeKey, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Not started yet."""
    process = ServerProcess(tmp_path, live_api, await make_key(Scope.SERVING), await make_key(Scope.PREDICT))
    yield process
    if process.is_running:
        process.kill()


@pytest.fixture
async def control(live_api: LiveApi) -> AsyncIterator[httpx.AsyncClient]:
    """The api over real HTTP with an admin key."""
    headers = {"Authorization": f"Bearer {live_api.key}"}
    async with httpx.AsyncClient(base_url=live_api.url, headers=headers, timeout=30) as client:
        yield client
