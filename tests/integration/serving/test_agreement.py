"""The OpenAPI documents and the servers agree, as schemathesis finds out with requests of its own."""

import asyncio
import os
import sys
from pathlib import Path

import httpx

from tests.integration.conftest import LiveApi, MakeKey
from tests.integration.serving.conftest import ServerThread
from tests.integration.serving.models import Models, classifier
from tidemill.auth.scopes import Scope

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_REPOSITORY = Path(__file__).parents[3]
_TIMEOUT_SECONDS = 240


async def _findings(url: str, key: str, folder: Path) -> str:
    """What schemathesis has to say about a server; nothing when all is well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG),
        "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--no-color",
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_SECONDS)
    return "" if process.returncode == 0 else out.decode()


async def test_the_api_agrees_with_its_document(
    live_api: LiveApi, control: httpx.AsyncClient, models: Models, tmp_path: Path
) -> None:
    await models.register("wealth", classifier())
    (await control.put("/api/v1/deployments/wealth", json={"model": "wealth:1"})).raise_for_status()
    found = await _findings(live_api.url, live_api.key, tmp_path)
    assert not found, found


async def test_the_model_server_agrees_with_its_document(
    server: ServerThread, control: httpx.AsyncClient, models: Models, make_key: MakeKey, tmp_path: Path
) -> None:
    await models.register("wealth", classifier())
    (await control.put("/api/v1/deployments/wealth", json={"model": "wealth:1"})).raise_for_status()
    await server.start()
    await server.until_serving("wealth", 1)
    found = await _findings(server.url, await make_key(Scope.PREDICT), tmp_path)
    assert not found, found
