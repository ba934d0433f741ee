"""Composition root of the model server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from tidemill.adapters.model_loading import PYFUNC
from tidemill.auth.middleware import AuthenticationMiddleware
from tidemill.kit import startup
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import close_to_others
from tidemill.kit.signatures import columns_of
from tidemill.kit.tasks import end_tasks
from tidemill.model_server.access import KeyRing
from tidemill.model_server.background import Background
from tidemill.model_server.dataplane import DataPlane
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.shipper import Shipper
from tidemill.model_server.ledger.writer import LedgerLimits, LedgerWriter
from tidemill.model_server.metrics import ServingMetrics
from tidemill.model_server.models import ModelTable
from tidemill.model_server.problems import install_inference_problems
from tidemill.model_server.runtimes.base import Runtime
from tidemill.model_server.runtimes.child import ChildRuntime, ModelBox, ModelOrder
from tidemill.model_server.runtimes.inprocess import InProcessRuntime, ModelThreads
from tidemill.model_server.slots import Heir, Slots
from tidemill.model_server.sync.bundles import BundleCache
from tidemill.model_server.sync.control_plane import ControlPlane
from tidemill.model_server.sync.loader import Loader
from tidemill.model_server.sync.synchronizer import LedgerFigures, Synchronizer
from tidemill.model_server.transports import described, invocations, records
from tidemill.model_server.transports.server import Serving
from tidemill.sandbox.confinement import protect_process
from tidemill.schemas.serving import DeploymentSpec, SegmentReceipt
from tidemill.settings.model import ModelServerSettings, Settings
from tidemill.settings.sources import settings_or_exit, told_or_exit
from tidemill.tracing.setup import tracing
from tidemill.web import document
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.health import Check
from tidemill.web.metrics import create_registry
from tidemill.web.request_memory import RequestMemory, RequestMemoryMiddleware
from tidemill.web.server import Server, limits_of, server_config

log = logging.getLogger(__name__)

_LAST_SHIPMENT_SECONDS = 3.0


class ModelServer:
    """All parts of one model server; `running` starts and stops them in order."""

    def __init__(self, settings: ModelServerSettings, environment: str, allow_unconfined: bool = False) -> None:
        if settings.key is None:
            raise Invalid("key_missing", "The model server needs a key with the scope serving: MODEL_SERVER__KEY.")
        self._settings, self._environment = settings, environment
        self._allow_unconfined = allow_unconfined
        self.registry: CollectorRegistry = create_registry()
        self._metrics = ServingMetrics(self.registry)
        self._control_plane = ControlPlane(settings.api_url, settings.key.get_secret_value())
        self._claim_state()
        self._threads = ModelThreads.create(settings.threads, settings.predict_timeout_seconds)
        self.request_memory = RequestMemory(settings.request_memory_bytes)
        self._build_ledger()
        self._build_sync()
        self._background = Background()
        data_plane = DataPlane(self._models, self._writer, self._metrics, self._background, settings.max_rows)
        self.serving = Serving(data_plane, self._models, self._keys)

    def _claim_state(self) -> None:
        root, count = self._settings.state_dir, self._settings.state_slots
        slots = Slots(root, count) if count else None
        self._state = slots.claim() if slots else StateDirectory(root)
        self._heir = Heir(slots, self._control_plane.ship) if slots else None

    def _build_ledger(self) -> None:
        settings = self._settings
        self._segments = SegmentFolder(self._state.ledger, self._state.quarantine)
        limits = LedgerLimits(max_bytes=settings.ledger_max_bytes, sync=settings.ledger_sync)
        self._writer = LedgerWriter(self._segments, limits)
        self._shipper = Shipper(self._segments, self._writer, self._ship, settings.ship_seconds)

    async def _ship(self, content: bytes) -> SegmentReceipt:
        try:
            receipt = await self._control_plane.ship(content)
        except TidemillError:
            self._metrics.shipping_failures.inc()
            raise
        if receipt.accounts_for(content.count(b"\n")):
            self._metrics.shipped_rows.inc(receipt.received - len(receipt.rejected))
        return receipt

    def _build_sync(self) -> None:
        self._keys, self._models = KeyRing(self._environment), ModelTable()
        bundles = BundleCache(self._state, self._control_plane.download_bundle)
        self._loader = Loader(self._models, bundles, self._start_runtime, self._metrics, self._remember_served)
        figures = LedgerFigures(
            waiting_bytes=lambda: self._writer.waiting_bytes,
            aside=lambda: self._shipper.aside,
            aside_bytes=lambda: self._writer.aside_bytes,
            quarantined_files=lambda: self._state.quarantine.held().files,
        )
        self._synchronizer = Synchronizer(self._control_plane, self._state, self._keys, self._loader, figures)
        self._watch()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the block runs; then stop loading, ship what can be shipped at once, and close the ledger."""
        tasks = [
            asyncio.create_task(_forever(self._synchronize(), "synchronizer")),
            asyncio.create_task(_forever(self._load_on(), "loader")),
            asyncio.create_task(_forever(self._shipper.run(), "shipper")),
        ]
        if self._heir is not None:
            tasks.append(asyncio.create_task(_forever(self._heir.run(), "heir")))
        try:
            yield
        finally:
            await end_tasks(*tasks)
            await self._close()

    def checks(self) -> dict[str, Check]:
        """What must hold before predictions can be answered."""
        return {
            "snapshot": _check(self._synchronizer.snapshot_known.is_set),
            "models": _check(lambda: self._loader.is_settled and not self._loader.waits_for_disk),
            "ledger": _check(lambda: self._writer.is_alive and not self._writer.is_full),
            "disk": self._disk_takes_rows,
        }

    def notices(self) -> dict[str, Check]:
        """What people should look at although predictions are answered."""
        return {
            "every_model_loaded": _check(lambda: all(s.state == "ready" for s in self._loader.statuses())),
            "api_reached": _check(lambda: self._synchronizer.age_seconds < 30),
            "ledger_ships": _check(lambda: self._shipper.failures == 0),
            "ledger_rejected_nothing": _check(lambda: self._shipper.rejected_rows == 0),
            "ledger_retries_nothing": _check(lambda: self._shipper.aside.retry_rows == 0),
            "ledger_lost_nothing": _check(lambda: self._shipper.aside.lost_rows == 0),
            "no_file_in_quarantine": _check(lambda: self._state.quarantine.held().files == 0),
        }

    async def _disk_takes_rows(self) -> bool:
        return await asyncio.to_thread(self._writer.is_writable)

    async def _synchronize(self) -> None:
        await self._synchronizer.restore()
        startup.done()
        await self._synchronizer.run(self._settings.refresh_seconds)

    async def _load_on(self) -> None:
        await self._synchronizer.snapshot_known.wait()
        await self._loader.run()

    async def _start_runtime(self, directory: Path, spec: DeploymentSpec) -> Runtime:
        types = {column.name: column.type for column in columns_of(spec.signature)}
        if spec.flavor == PYFUNC:
            order = ModelOrder(
                directory, spec.flavor, types, self._settings.predict_timeout_seconds, spec.runs_code, self._box()
            )
            return await ChildRuntime.load(order)
        return await InProcessRuntime.load(directory, spec.flavor, types, self._threads)

    def _box(self) -> ModelBox:
        settings = self._settings
        return ModelBox(
            allow_unconfined=self._allow_unconfined,
            memory_bytes=settings.model_memory_bytes,
            disk_bytes=settings.model_disk_bytes,
            temporary=self._state.temporary,
        )

    def _remember_served(self, specs: list[DeploymentSpec]) -> None:
        self._synchronizer.remember_served(specs)

    def _watch(self) -> None:
        metrics = self._metrics
        metrics.ledger_limit_bytes.set(self._settings.ledger_max_bytes)
        metrics.request_memory_limit_bytes.set(self.request_memory.limit_bytes)
        metrics.request_memory_bytes.set_function(lambda: self.request_memory.used_bytes)
        metrics.ledger_waiting_bytes.set_function(lambda: self._writer.waiting_bytes)
        metrics.ledger_oldest_unshipped_seconds.set_function(self._oldest_seconds)
        metrics.ledger_rejected_rows.set_function(lambda: self._shipper.rejected_rows)
        metrics.ledger_retry_rows.set_function(lambda: self._shipper.aside.retry_rows)
        metrics.ledger_lost_rows.set_function(lambda: self._shipper.aside.lost_rows)
        metrics.ledger_set_aside_bytes.set_function(lambda: self._writer.aside_bytes)
        metrics.ledger_writable.set_function(self._writer.is_writable)
        metrics.quarantined_files.set_function(lambda: self._state.quarantine.held().files)
        metrics.snapshot_age_seconds.set_function(lambda: self._synchronizer.age_seconds)
        metrics.served_deployments.set_function(lambda: len(self._models.names()))

    def _oldest_seconds(self) -> float:
        written_at = self._segments.oldest_written_at()
        return 0.0 if written_at is None else max(0.0, utc_now().timestamp() - written_at)

    async def _close(self) -> None:
        await self._models.close()
        try:
            async with asyncio.timeout(_LAST_SHIPMENT_SECONDS):
                await self._shipper.ship_waiting()
        except (TimeoutError, TidemillError, OSError):
            log.warning("Predictions stay on disk until the next start")
        await asyncio.to_thread(self._writer.close)
        await self._control_plane.close()
        self._threads.executor.shutdown(wait=False, cancel_futures=True)
        self._background.close()
        self._state.close()


def _check(holds: Any) -> Check:
    async def check() -> bool:
        return bool(holds())

    return check


async def _forever(work: Coroutine[Any, Any, None], name: str) -> None:
    """A background task of the server must not die silently: the process ends, and its supervisor starts it anew."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException:
        log.critical("A background task failed; this process ends", exc_info=True, extra={"child": name})
        logging.shutdown()
        raise SystemExit(70) from None


def create_app(server: ModelServer, settings: Settings) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with server.running():
            yield

    config = WebConfig(
        title="Tidemill model server",
        registry=server.registry,
        max_body_bytes=settings.model_server.max_body_bytes,
        metrics_to=settings.observability.metrics_to,
        packed_paths=(r"(/deployments/[^/]+)?/invocations",),
        checks=server.checks(),
        notices=server.notices(),
        authentication=Middleware(AuthenticationMiddleware, authenticate=server.serving.keys.principal_of),
        inner_middleware=[Middleware(RequestMemoryMiddleware, memory=server.request_memory)],
    )
    app = create_web_app(config, (records.router, described.router, invocations.router), lifespan)
    app.state.serving = server.serving
    install_inference_problems(app)
    document.complete(app, ("/livez", "/readyz", "/ping", "/health", "/version"))
    return app


def build(settings: Settings) -> FastAPI:
    """The model server as an ASGI application. Must be called in the process, not yet in the loop, that runs it."""
    own = settings.model_server
    return create_app(ModelServer(own, settings.environment, settings.sandbox.allow_unconfined), settings)


def main() -> None:
    close_to_others()
    protect_process()
    settings = settings_or_exit()
    configure_logging("model-server", settings.environment, settings.log_level)
    own = settings.model_server
    with tracing("model-server", settings.environment):
        with told_or_exit():
            app = build(settings)
        Server(server_config(app, own.host, own.port, limits_of(settings.http)), settings.edge.drain_seconds).run()
