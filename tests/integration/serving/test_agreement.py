"""The OpenAPI documents and the servers agree, as schemathesis finds out with requests of its own."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import httpx

from tests.integration.conftest import LiveApi, MakeKey
from tests.integration.serving.agreement import ANSWERS, SCENARIO
from tests.integration.serving.conftest import ServerThread
from tests.integration.serving.models import Models, classifier
from tests.integration.serving.standing import Scenario, prepare, serving
from tidemill.auth.scopes import Scope

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_REPOSITORY = Path(__file__).parents[3]
_TIMEOUT_SECONDS = 240


async def _findings(url: str, key: str, folder: Path, scenario: Scenario) -> str:
    """What schemathesis has to say about a server; nothing when all is well."""
    (folder / SCENARIO).write_text(json.dumps(asdict(scenario)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG),
        "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--no-color",
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_SECONDS)
    return "" if process.returncode == 0 else out.decode()


async def _never_successful(client: httpx.AsyncClient, folder: Path) -> dict[str, list[int]]:
    """Operations of the document that nothing succeeded in, with the statuses that they answered."""
    seen: dict[str, set[int]] = {}
    for line in (folder / ANSWERS).read_text().splitlines():
        operation, status = json.loads(line)
        seen.setdefault(operation, set()).add(status)
    document = (await client.get("/openapi.json")).json()
    named = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    found = {name: sorted(seen.get(name, ())) for name in named}
    return {name: statuses for name, statuses in found.items() if not any(200 <= one < 300 for one in statuses)}


async def test_the_api_agrees_with_its_document(
    live_api: LiveApi, control: httpx.AsyncClient, models: Models, tmp_path: Path
) -> None:
    scenario = await prepare(control, models)
    found = await _findings(live_api.url, live_api.key, tmp_path, scenario)
    assert not found, found
    assert await _never_successful(control, tmp_path) == {}


async def test_the_model_server_agrees_with_its_document(
    server: ServerThread, control: httpx.AsyncClient, models: Models, make_key: MakeKey, tmp_path: Path
) -> None:
    await models.register("wealth", classifier())
    (await control.put("/api/v1/deployments/wealth", json={"model": "wealth:1"})).raise_for_status()
    await server.start()
    await server.until_serving("wealth", 1)
    async with server.client() as client:
        described = (await client.get("/api/v1/deployments/wealth/openapi.json")).json()
        found = await _findings(server.url, await make_key(Scope.PREDICT), tmp_path, serving(described))
        assert not found, found
        assert await _never_successful(client, tmp_path) == {}
