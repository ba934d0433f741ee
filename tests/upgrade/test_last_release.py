"""From the last release to this one and back: its rows come along, and it runs on the schema that this one made."""

import asyncio
import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.upgrade.conftest import LAST_RELEASE

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Code:
    """One release's code on one database."""

    source: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-P", "-m", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | self.environment | {"PYTHONPATH": str(self.source)}

    @asynccontextmanager
    async def api(self, key: str) -> AsyncIterator[httpx.AsyncClient]:
        """This release's api, ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        environment = self._environment | {"TIDEMILL_API__PORT": port}
        command = [sys.executable, "-P", "-m", "tidemill.api"]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
                await _until_ready(client, process)
                yield client
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while process.returncode is None:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError("the api ended")


@pytest.fixture
def releases(postgres_url: str, tmp_path: Path) -> Iterator[tuple[Code, Code]]:
    """The last release and this one, on one empty database."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", os.environ[LAST_RELEASE], "src"],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    with psycopg.connect(postgres_url.replace("postgresql+psycopg://", "postgresql://", 1), autocommit=True) as server:
        server.execute("CREATE DATABASE upgrade")
        environment = {
            "TIDEMILL_DATABASE__URL": postgres_url.replace("/postgres?", "/upgrade?"),
            "TIDEMILL_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
        }
        yield Code(tmp_path / "src", environment), Code(ROOT / "src", environment)
        server.execute("DROP DATABASE upgrade WITH (FORCE)")


async def names(client: httpx.AsyncClient) -> set[str]:
    answer = await client.get("/api/v1/keys")
    assert answer.status_code == 200, answer.text
    return {key["name"] for key in answer.json()["items"]}


async def make_key(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post("/api/v1/keys", json={"name": name, "scopes": ["predict"]})
    assert answer.status_code == 201, answer.text


async def test_rows_come_along_and_the_last_release_runs_on_the_new_schema(releases: tuple[Code, Code]) -> None:
    last, this = releases
    last.run("tidemill.admin", "migrate")
    key = last.run("tidemill.admin", "create-key", "first", "--scope", "admin")
    this.run("tidemill.admin", "migrate")
    async with this.api(key) as client:
        await make_key(client, "second")
    last.run("tidemill.admin", "migrate")
    async with last.api(key) as client:
        await make_key(client, "third")
        assert await names(client) == {"first", "second", "third"}
