"""Brings what is loaded in line with what is wanted: the new model beside the old one, then one swap, then the rest.

A model that cannot be loaded leaves the old one serving; it is tried again, with growing pauses.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidemill.kit.errors import TidemillError, Unavailable
from tidemill.kit.tasks import end_tasks
from tidemill.model_server.metrics import ServingMetrics
from tidemill.model_server.models import ModelTable, ServedModel, identity_of
from tidemill.model_server.runtimes.base import Runtime
from tidemill.model_server.sync.bundles import BundleCache
from tidemill.schemas.serving import DeploymentSpec, LoadStatus

log = logging.getLogger(__name__)

StartRuntime = Callable[[Path, DeploymentSpec], Awaitable[Runtime]]
_LOADED_TOGETHER = 4
"""Models loaded side by side: their processes begin with seconds of importing."""
_TURN_SECONDS = 20.0
"""Who takes longer goes on beside the others: a model that hangs while it is loaded keeps no other one waiting."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_DISK_PAUSE_SECONDS = 2.0
"""A disk is asked often: nothing is fetched for it, and nobody but it has to be spared."""
_DISK = "disk_unavailable"


@dataclass
class _Failure:
    """Why a wanted version is not loaded, and when it is tried again."""

    identity: tuple[str, int, str]
    error: TidemillError
    attempts: int
    next_at: float


@dataclass
class _Load:
    """A version that is being loaded."""

    identity: tuple[str, int, str]
    work: asyncio.Task[None] = field(init=False)
    had_turn: bool = False


@dataclass
class Wanted:
    """The last known snapshot's deployments. unresolved: go on with what is loaded."""

    specs: dict[str, DeploymentSpec] = field(default_factory=dict)
    unresolved: frozenset[str] = frozenset()

    @staticmethod
    def of(specs: Sequence[DeploymentSpec], unresolved: Sequence[str] = ()) -> "Wanted":
        return Wanted({spec.name: spec for spec in specs}, frozenset(unresolved))


class Loader:
    """``on_change`` is told, as specs, what is served after each swap or removal."""

    def __init__(
        self,
        models: ModelTable,
        bundles: BundleCache,
        start_runtime: StartRuntime,
        metrics: ServingMetrics,
        on_change: Callable[[list[DeploymentSpec]], None],
    ) -> None:
        self._models = models
        self._bundles = bundles
        self._start_runtime = start_runtime
        self._metrics = metrics
        self._on_change = on_change
        self._wanted = Wanted()
        self._failures: dict[str, _Failure] = {}
        self._loading: dict[str, _Load] = {}
        self._turns = asyncio.Semaphore(_LOADED_TOGETHER)
        self._has_changed = False
        self._wake = asyncio.Event()
        self.is_settled = False
        """True once everything wanted at the start was loaded or found not to load."""

    @property
    def waits_for_disk(self) -> bool:
        """Whether something wanted is not served at all until the local disk takes it."""
        return any(
            failure.error.code == _DISK and self._models.find(name) is None for name, failure in self._failures.items()
        )

    def want(self, wanted: Wanted) -> None:
        """Serve this from now on, as soon as it is loaded."""
        self._wanted = wanted
        self._models.expect(set(wanted.specs) | wanted.unresolved)
        self._wake.set()

    async def run(self) -> None:
        """Load until cancelled."""
        try:
            while True:
                self._wake.clear()
                self._begin()
                self.is_settled = self.is_settled or not self._loading
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_seconds()):
                        await self._wake.wait()
        finally:
            await end_tasks(*(load.work for load in self._loading.values()))

    async def restore(self, specs: Sequence[DeploymentSpec]) -> None:
        """Load what an earlier process served last; what does not load any more is left to `run`.

        What takes longer than a turn is not waited for: it goes on beside the rest.
        """
        for spec in specs:
            self._begin_load(spec)
        if self._loading:
            await asyncio.wait([load.work for load in self._loading.values()], timeout=_TURN_SECONDS)
        self._failures.clear()

    def _begin(self) -> None:
        """Remove what is not wanted any more, give up loading it, and begin to load what is."""
        gone = set(self._models.names()) - set(self._wanted.specs) - self._wanted.unresolved
        for name in gone:
            self._models.remove(name)
        for name in set(self._failures) - set(self._wanted.specs):
            del self._failures[name]
        for name, load in self._loading.items():
            spec = self._wanted.specs.get(name)
            if load.identity != (identity_of(spec) if spec else None) and name not in self._wanted.unresolved:
                load.work.cancel()
        for name, spec in self._wanted.specs.items():
            if name not in self._loading and self._is_due(spec):
                self._begin_load(spec)
        self._has_changed = self._has_changed or bool(gone)
        # Not after each of many: what is remembered meanwhile would be less than what was served.
        if self._has_changed and all(load.had_turn for load in self._loading.values()):
            self._has_changed = False
            self._changed()

    def _begin_load(self, spec: DeploymentSpec) -> None:
        load = _Load(identity_of(spec))
        load.work = asyncio.create_task(self._in_turn(spec, load), name=f"load {spec.name}")
        self._loading[spec.name] = load
        load.work.add_done_callback(lambda _: self._no_longer_loading(spec.name))

    def _no_longer_loading(self, name: str) -> None:
        del self._loading[name]
        self._wake.set()

    async def _in_turn(self, spec: DeploymentSpec, load: _Load) -> None:
        """A model that hangs keeps the others waiting for one turn, and only if as many do as are loaded together."""
        async with self._turns:
            work = asyncio.create_task(self._load(spec))
            try:
                await asyncio.wait({work}, timeout=_TURN_SECONDS)
            except asyncio.CancelledError:
                await end_tasks(work)
                raise
        load.had_turn = True
        self._wake.set()
        try:
            self._has_changed = await work or self._has_changed
        finally:
            await end_tasks(work)

    def statuses(self) -> list[LoadStatus]:
        return [self._status(name) for name in sorted(set(self._wanted.specs) | self._wanted.unresolved)]

    def _status(self, name: str) -> LoadStatus:
        spec, served, failure = self._wanted.specs.get(name), self._models.find(name), self._failures.get(name)
        status = LoadStatus(
            name=name,
            state="ready" if served and (spec is None or served.identity == identity_of(spec)) else "loading",
            model_name=served.spec.model_name if served else None,
            model_version=served.spec.model_version if served else None,
            wanted_version=spec.model_version if spec else None,
        )
        if failure is not None and status.state != "ready":
            status.state, status.error_code, status.error_detail = "failed", failure.error.code, failure.error.detail
        return status

    def _is_due(self, spec: DeploymentSpec) -> bool:
        served = self._models.find(spec.name)
        if served is not None and served.identity == identity_of(spec):
            self._failures.pop(spec.name, None)
            return False
        failure = self._failures.get(spec.name)
        return failure is None or failure.identity != identity_of(spec) or failure.next_at <= time.monotonic()

    async def _load(self, spec: DeploymentSpec) -> bool:
        fields = {"deployment": spec.name, "model": spec.model_name, "version": spec.model_version}
        started = time.perf_counter()
        try:
            served = await self._loaded(spec)
        except Exception as raised:
            error = _told(raised)
            self._remember_failure(spec, error)
            self._metrics.loads.labels(spec.name, "failed").inc()
            extra = {**fields, "reason": error.code}
            log.error("A model cannot be loaded", extra=extra, exc_info=error is not raised)  # noqa: TRY400 - the code says it
            return False
        self._models.swap(spec.name, served)
        self._failures.pop(spec.name, None)
        self._metrics.loads.labels(spec.name, "ok").inc()
        log.info("Serving a model", extra={**fields, "duration_ms": round((time.perf_counter() - started) * 1000)})
        return True

    async def _loaded(self, spec: DeploymentSpec) -> ServedModel:
        try:
            folder = await self._bundles.unpacked(spec.bundle_sha256, spec.bundle_size_bytes)
        except OSError as error:
            reason = f"The local disk failed ({type(error).__name__}, number {error.errno})."
            raise Unavailable(_DISK, reason) from error
        try:
            runtime = await self._start_runtime(folder, spec)
        except BaseException:
            self._bundles.remove_unpacked(folder)
            raise
        return ServedModel(spec, runtime, on_free=lambda: self._bundles.remove_unpacked(folder))

    def _remember_failure(self, spec: DeploymentSpec, error: TidemillError) -> None:
        before = self._failures.get(spec.name)
        same = before is not None and before.identity == identity_of(spec)
        attempts = before.attempts + 1 if before is not None and same else 1
        longest = _DISK_PAUSE_SECONDS if error.code == _DISK else _LONGEST_PAUSE_SECONDS
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10), longest)
        self._failures[spec.name] = _Failure(identity_of(spec), error, attempts, time.monotonic() + pause)

    def _pause_seconds(self) -> float | None:
        """Until the next attempt; None to wait for news."""
        if not self._failures:
            return None
        return max(0.05, min(failure.next_at for failure in self._failures.values()) - time.monotonic())

    def _changed(self) -> None:
        specs = [served.spec for name in self._models.names() if (served := self._models.find(name)) is not None]
        self._on_change(specs)
        wanted = {spec.bundle_sha256 for spec in self._wanted.specs.values()}
        self._bundles.keep_only(wanted | {spec.bundle_sha256 for spec in specs})


def _told(raised: Exception) -> TidemillError:
    if isinstance(raised, TidemillError):
        return raised
    return TidemillError("model_not_loadable", f"Loading failed ({type(raised).__name__}).")
