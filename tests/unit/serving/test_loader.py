"""Each model is loaded for itself: one that hangs keeps no other waiting, nor whoever follows the api."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from tidemill.kit.tasks import end_tasks
from tidemill.model_server.metrics import ServingMetrics
from tidemill.model_server.models import ModelTable
from tidemill.model_server.runtimes.base import Runtime
from tidemill.model_server.sync import loader as under_test
from tidemill.model_server.sync.bundles import BundleCache
from tidemill.model_server.sync.loader import Loader, Wanted
from tidemill.schemas.serving import DeploymentSpec


class Bundles:
    """Unpacks nothing, and remembers what is unpacked."""

    def __init__(self) -> None:
        self.folders: set[Path] = set()

    async def unpacked(self, sha256: str, _size_bytes: int) -> Path:
        folder = Path(f"{sha256}-{len(self.folders)}")
        self.folders.add(folder)
        return folder

    def remove_unpacked(self, folder: Path) -> None:
        self.folders.discard(folder)

    def keep_only(self, _sha256s: Any) -> None: ...


class Fine:
    async def predict(self, *_: Any) -> Any: ...

    async def close(self) -> None: ...


class Server:
    """Models whose names begin with "hang" are never loaded, those with "break" fail in a way that is not ours."""

    def __init__(self) -> None:
        self.models, self.bundles, self.changes, self.hanging = ModelTable(), Bundles(), [[""]], 0
        metrics = ServingMetrics(CollectorRegistry())
        bundles = cast("BundleCache", self.bundles)
        self.loader = Loader(self.models, bundles, self.start, metrics, self.changed)
        self.running = asyncio.create_task(self.loader.run())

    async def start(self, _folder: Path, spec: DeploymentSpec) -> Runtime:
        if spec.model_name.startswith("break"):
            raise RuntimeError("can't start new thread")
        if spec.model_name.startswith("hang"):
            self.hanging += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.hanging -= 1
        return Fine()

    def changed(self, specs: list[DeploymentSpec]) -> None:
        self.changes.append([spec.name for spec in specs])

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                assert not self.running.done()
                await asyncio.sleep(0.005)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(under_test, "_TURN_SECONDS", 0.05)
    started = Server()
    yield started
    await end_tasks(started.running)
    assert started.hanging == 0


def deployment(name: str, model: str) -> DeploymentSpec:
    return DeploymentSpec.model_validate({
        "name": name, "model_name": model, "model_version": 1, "bundle_sha256": model, "bundle_size_bytes": 1,
        "flavor": "pyfunc", "reference": "x",
        "task": None, "target": None, "classes": None, "signature": {"inputs": [], "outputs": [], "params": []},
    })  # fmt: skip


HANGING = [deployment(f"hang-{number}", f"hang-{number}") for number in range(9)]


async def test_models_that_hang_while_they_are_loaded_keep_no_other_one_from_being_loaded(server: Server) -> None:
    server.loader.want(Wanted.of([*HANGING, deployment("z", "fine")]))
    await server.until(lambda: server.models.names() == ["z"] and server.hanging == len(HANGING))
    await server.until(lambda: server.changes[-1] == ["z"])


async def test_a_version_that_hangs_is_given_up_as_soon_as_another_one_is_wanted(server: Server) -> None:
    server.loader.want(Wanted.of([deployment("a", "hang"), deployment("b", "hang")]))
    await server.until(lambda: server.hanging == 2)
    server.loader.want(Wanted.of([deployment("a", "fine")]))
    await server.until(lambda: server.models.names() == ["a"] and server.hanging == 0)
    assert len(server.bundles.folders) == 1
    await server.until(lambda: server.loader.is_settled)


async def test_what_hangs_at_a_start_does_not_keep_the_server_from_following_the_api(server: Server) -> None:
    specs = [*HANGING[:2], deployment("z", "fine")]
    server.loader.want(Wanted.of(specs))
    async with asyncio.timeout(20):
        await server.loader.restore(specs)
    assert server.models.names() == ["z"]


async def test_a_failure_that_is_not_ours_is_a_failure_of_that_model_and_tried_again_later(server: Server) -> None:
    server.loader.want(Wanted.of([deployment("a", "break"), deployment("z", "fine")]))
    await server.until(lambda: server.models.names() == ["z"] and server.loader.is_settled)
    (status, _) = server.loader.statuses()
    assert (status.state, status.error_code) == ("failed", "model_not_loadable")
