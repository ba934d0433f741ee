"""What is loaded: per deployment one model, swapped in one step, freed after its last request."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tidemill.kit.errors import NotFound, Unavailable
from tidemill.kit.signatures import Column, Param, columns_of, params_of
from tidemill.model_server.runtimes.base import Runtime
from tidemill.schemas.serving import DeploymentSpec

log = logging.getLogger(__name__)


@dataclass(eq=False)
class ServedModel:
    """A loaded model version. ``on_free`` runs after its runtime was closed."""

    spec: DeploymentSpec
    runtime: Runtime
    on_free: Callable[[], None] = lambda: None
    columns: tuple[Column, ...] = field(init=False)
    params: dict[str, Param] = field(init=False)
    users: int = 0
    is_retired: bool = False

    def __post_init__(self) -> None:
        self.columns = columns_of(self.spec.signature)
        self.params = params_of(self.spec.signature)

    @property
    def identity(self) -> tuple[str, int, str]:
        """Two specs with the same identity are served by the same loaded model."""
        return identity_of(self.spec)


def identity_of(spec: DeploymentSpec) -> tuple[str, int, str]:
    return spec.model_name, spec.model_version, spec.bundle_sha256


class ModelTable:
    """Deployment to model. Used from the event loop only, so that a swap is one step for every request."""

    def __init__(self) -> None:
        self._served: dict[str, ServedModel] = {}
        self._expected: set[str] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def expect(self, names: set[str]) -> None:
        """Deployments that exist, loaded or not."""
        self._expected = names

    def find(self, name: str) -> ServedModel | None:
        return self._served.get(name)

    def names(self) -> list[str]:
        return sorted(self._served)

    @contextlib.contextmanager
    def lease(self, name: str) -> Iterator[ServedModel]:
        """The model of a deployment, which is not freed before the block ends.

        Raises NotFound, or Unavailable while the first model of a deployment is being loaded.
        """
        served = self._served.get(name)
        if served is None:
            if name in self._expected:
                raise Unavailable("deployment_not_loaded", "No model of this deployment is loaded yet.")
            raise NotFound("deployment_not_found", "There is no such deployment.")
        served.users += 1
        try:
            yield served
        finally:
            served.users -= 1
            self._free_if_unused(served)

    def swap(self, name: str, new: ServedModel) -> None:
        """Serve ``new`` from the next request on."""
        old, self._served[name] = self._served.get(name), new
        if old is not None:
            self._retire(old)

    def remove(self, name: str) -> None:
        old = self._served.pop(name, None)
        if old is not None:
            self._retire(old)

    async def close(self) -> None:
        for name in list(self._served):
            self.remove(name)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _retire(self, served: ServedModel) -> None:
        served.is_retired = True
        self._free_if_unused(served)

    def _free_if_unused(self, served: ServedModel) -> None:
        if served.is_retired and served.users == 0:
            task = asyncio.create_task(_free(served))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _free(served: ServedModel) -> None:
    try:
        await served.runtime.close()
    finally:
        served.on_free()
    fields = {"model": served.spec.model_name, "version": served.spec.model_version}
    log.info("Freed a model", extra={"deployment": served.spec.name, **fields})
