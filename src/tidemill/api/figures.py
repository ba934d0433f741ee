"""Figures of the whole platform on the api's ``/metrics``: what the database knows, and what the api depends on.

They are read in the background, so that a scrape costs the database nothing, and are the same on every replica of the
api: whoever adds them up over instances counts twice, so take the maximum.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tidemill.db.engine import transaction
from tidemill.deps import ApiServices
from tidemill.features.datasets import figures as datasets
from tidemill.features.monitoring.figures import LiveFigures
from tidemill.features.registry import figures as registry
from tidemill.jobs import figures as jobs
from tidemill.kit.errors import TidemillError
from tidemill.kit.tasks import end_tasks
from tidemill.web.certificate import certificate_expiry

log = logging.getLogger(__name__)

_STATEMENT_TIMEOUT = text("SET LOCAL statement_timeout = '3s'")
_ROUND_TIMEOUT_SECONDS = 10
_PROBE_TIMEOUT_SECONDS = 5
_KEPT_ROUNDS = 4
"""Figures older than this many rounds are not shown any more: absent is honest, stale is not."""
_CERTIFICATE_SECONDS = 300
_PROBED_KEY = "probe"


class PlatformFigures(Collector):
    """Gives what the last `refresh` found. Nothing is read when Prometheus asks."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._settings = services.settings.observability
        self._live = LiveFigures()
        self._database: list[Metric] = []
        self._read_at: float | None = None
        self._up: dict[str, bool] = {}
        self._expiry: datetime | None = None
        self._expiry_read_at = -float(_CERTIFICATE_SECONDS)

    def collect(self) -> Iterable[Metric]:
        if self._read_at is not None and time.time() - self._read_at < _KEPT_ROUNDS * self._settings.figures_seconds:
            yield from self._database
        if self._read_at is not None:
            yield GaugeMetricFamily(
                "tidemill_figures_timestamp_seconds",
                "When the platform's figures were last read from the database.",
                self._read_at,
            )
        yield self._dependencies()
        if self._expiry is not None:
            yield GaugeMetricFamily(
                "tidemill_certificate_expiry_timestamp_seconds",
                "Until when the TLS certificate that callers see is valid.",
                self._expiry.timestamp(),
            )

    async def refresh(self) -> None:
        """One round. What cannot be read is left out, and logged."""
        await asyncio.gather(self._read_database(), self._probe_dependencies(), self._read_certificate())

    async def _read_database(self) -> None:
        silent_after_seconds = self._services.settings.worker.stalled_after_seconds
        try:
            async with asyncio.timeout(_ROUND_TIMEOUT_SECONDS), transaction(self._services.sessions) as session:
                await session.execute(_STATEMENT_TIMEOUT)
                found = [
                    *await jobs.read(session, silent_after_seconds),
                    *await datasets.read(session),
                    *await registry.read(session),
                    *await self._live.read(session),
                ]
        except (SQLAlchemyError, OSError) as error:
            self._up["database"] = False
            log.warning("The platform's figures cannot be read", extra={"error_type": type(error).__name__})
        else:
            self._database, self._read_at, self._up["database"] = found, time.time(), True

    async def _probe_dependencies(self) -> None:
        self._up["mlflow"] = await self._services.mlflow.healthy()
        self._up["object_store"] = await self._store_answers()

    async def _store_answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
                await self._services.store.exists(_PROBED_KEY)
        except (TidemillError, TimeoutError):
            return False
        return True

    async def _read_certificate(self) -> None:
        address = self._settings.tls_address
        if address is None or time.monotonic() - self._expiry_read_at < _CERTIFICATE_SECONDS:
            return
        try:
            self._expiry = await certificate_expiry(address)
        except (OSError, ValueError) as error:
            self._expiry = None
            log.warning("The TLS certificate cannot be read", extra={"error_type": type(error).__name__})
        else:
            self._expiry_read_at = time.monotonic()

    def _dependencies(self) -> Metric:
        family = GaugeMetricFamily(
            "tidemill_dependency_up",
            "1 while a server that the platform depends on answers this api, else 0.",
            labels=("dependency",),
        )
        for name, up in sorted(self._up.items()):
            family.add_metric([name], float(up))
        return family


@contextlib.asynccontextmanager
async def showing_figures(registry: CollectorRegistry, services: ApiServices) -> AsyncIterator[None]:
    """The platform's figures in ``registry``, read every ``observability.figures_seconds``, while the block runs."""
    figures = PlatformFigures(services)
    registry.register(figures)
    task = asyncio.create_task(_refresh_on(figures, services.settings.observability.figures_seconds), name="figures")
    try:
        yield
    finally:
        await end_tasks(task)
        registry.unregister(figures)


async def _refresh_on(figures: PlatformFigures, seconds: float) -> None:
    while True:
        try:
            await figures.refresh()
        except Exception as raised:  # noqa: BLE001 - the next round may succeed; old figures disappear by themselves
            log.warning("The platform's figures cannot be read", extra={"error_type": type(raised).__name__})
        await asyncio.sleep(seconds)
