"""An api and a model server on a scratch stack, for the length of a drill."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.backup.stack import Stack
from tidemill.db.engine import create_session_factory, transaction
from tidemill.kit.own_files import write_private
from tidemill.platform.children import Child, ChildSpec, Ready
from tidemill.platform.ports import Ports, claim_ports
from tidemill.settings.weakness import LOCAL

ENVIRONMENT = LOCAL
"""Of the scratch processes, and so of their keys."""
_HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 120
_ANY_PORT = Ports(0, 0, 0, 0)


@dataclass(frozen=True)
class ScratchPlatform:
    """Where the two answer, and an admin key."""

    api: httpx.AsyncClient
    model_server: httpx.AsyncClient


@asynccontextmanager
async def scratch_platform(stack: Stack, folder: Path) -> AsyncIterator[ScratchPlatform]:
    """Run both while the block runs. Raises Unavailable with the end of its log when one does not start."""
    admin, serving = await _keys(stack, folder)
    ports = claim_ports(_ANY_PORT, _HOST)
    environment = _environment(stack, folder, ports, serving)
    urls = {"api": f"http://{_HOST}:{ports.api}", "model_server": f"http://{_HOST}:{ports.model_server}"}
    headers = {"Authorization": f"Bearer {admin}"}
    async with AsyncExitStack() as stopping:
        clients = {
            name: await stopping.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=60))
            for name, url in urls.items()
        }
        for name, client in clients.items():
            spec = ChildSpec(name, [sys.executable, "-m", f"tidemill.{name}"], environment, _ready(client))
            child = Child(spec, folder / f"{name}.log", on_restart=lambda *_: None)
            await child.start()
            stopping.push_async_callback(child.stop)
            await child.until_ready(START_TIMEOUT_SECONDS)
        yield ScratchPlatform(**clients)


async def _keys(stack: Stack, folder: Path) -> tuple[str, Path]:
    """The token of an admin key, and the file of one for the model server."""
    async with stack.engine() as engine, transaction(create_session_factory(engine)) as session:
        _, admin = await create_key(session, NewKey("drill", [Scope.ADMIN]), ENVIRONMENT, "drill")
        _, serving = await create_key(session, NewKey("drill", [Scope.SERVING]), ENVIRONMENT, "drill")
    write_private(folder / "serving.key", serving)
    return admin, folder / "serving.key"


def _environment(stack: Stack, folder: Path, ports: Ports, serving_key: Path) -> Mapping[str, str]:
    """None of the real stack's settings; the scratch database's address takes the way that a secret takes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    write_private(folder / "database.url", stack.tidemill.url.get_secret_value())
    return inherited | {
        "TIDEMILL_ENVIRONMENT": ENVIRONMENT,
        "TIDEMILL_DATA_DIR": str(folder),
        "TIDEMILL_DATABASE__URL_FILE": str(folder / "database.url"),
        "TIDEMILL_OBJECT_STORE__URL": stack.settings.object_store.url,
        "TIDEMILL_MLFLOW__URL": f"http://{_HOST}:9",
        "TIDEMILL_API__PORT": str(ports.api),
        "TIDEMILL_MODEL_SERVER__PORT": str(ports.model_server),
        "TIDEMILL_MODEL_SERVER__API_URL": f"http://{_HOST}:{ports.api}",
        "TIDEMILL_MODEL_SERVER__KEY_FILE": str(serving_key),
        "TIDEMILL_MODEL_SERVER__STATE_DIR": str(folder / "model-server"),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _ready(client: httpx.AsyncClient) -> Ready:
    async def check() -> bool:
        try:
            return (await client.get("/readyz", timeout=3)).status_code == 200
        except httpx.HTTPError:
            return False

    return check
