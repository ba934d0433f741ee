"""Asks the api what to serve, keeps the answer on disk, and reports how it goes."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from tidemill import __version__
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import TidemillError, Unavailable
from tidemill.model_server.access import KeyRing
from tidemill.model_server.disk import StateDirectory, write_atomically
from tidemill.model_server.ledger.set_aside import SetAsideTotals
from tidemill.model_server.sync.control_plane import ControlPlane
from tidemill.model_server.sync.loader import Loader, Wanted
from tidemill.sandbox.confinement import Kernel
from tidemill.schemas.serving import DeploymentSpec, ServerReport, Snapshot

log = logging.getLogger(__name__)

_SPECS = TypeAdapter(list[DeploymentSpec])
_REPORT_SECONDS = 5.0


@dataclass(frozen=True)
class LedgerFigures:
    """What is reported of the ledger."""

    waiting_bytes: Callable[[], int]
    aside: Callable[[], SetAsideTotals]
    aside_bytes: Callable[[], int]
    """Files in quarantine included, as in the ledger's budget."""
    quarantined_files: Callable[[], int]


class Synchronizer:
    def __init__(
        self, control_plane: ControlPlane, state: StateDirectory, keys: KeyRing, loader: Loader, ledger: LedgerFigures
    ) -> None:
        self._api = control_plane
        self._state = state
        self._keys = keys
        self._loader = loader
        self._ledger = ledger
        self._server_id = state.server_id()
        self._started_at: datetime = utc_now()
        self._etag: str | None = None
        self._heard_at: float | None = None
        self._reported: tuple[float, object] = (0.0, None)
        self.snapshot_known = asyncio.Event()
        """Set once there is something to serve from, and what was served before is loaded."""

    @property
    def age_seconds(self) -> float:
        """Since the api answered last; infinite if it never did."""
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    async def run(self, interval_seconds: float) -> None:
        """Restore what is on disk, then follow the api until cancelled."""
        await self.restore()
        was_away = False
        while True:
            try:
                await self.refresh()
                await self._report_if_due()
                was_away = False
            except TidemillError as error:
                if not was_away:
                    log.warning("The api cannot be followed", extra={"reason": error.code})
                was_away = True
            await asyncio.sleep(interval_seconds)

    async def restore(self) -> None:
        """Take up the last known snapshot, and load what was served last, without the api."""
        snapshot = self._stored_snapshot()
        if snapshot is not None:
            self._keys.replace(snapshot.keys)
            wanted = Wanted.of(snapshot.deployments, snapshot.unresolved)
            self._loader.want(wanted)
            alive = set(wanted.specs) | wanted.unresolved
            await self._loader.restore([spec for spec in self._served_before() if spec.name in alive])
            self.snapshot_known.set()

    async def refresh(self) -> None:
        """Ask once. Raises TidemillError if the api is away or refuses."""
        answer = await self._api.snapshot(self._etag)
        if answer is not None:
            content, etag = answer
            try:
                snapshot = Snapshot.model_validate_json(content)
            except ValidationError:
                raise Unavailable("snapshot_unreadable", "The api's snapshot cannot be read.") from None
            self._keys.replace(snapshot.keys)
            self._loader.want(Wanted.of(snapshot.deployments, snapshot.unresolved))
            await asyncio.to_thread(self._store, content)
            self._etag = etag
            self.snapshot_known.set()
        self._heard_at = time.monotonic()

    def remember_served(self, specs: list[DeploymentSpec]) -> None:
        """Keep on disk what is served now, for the next start."""
        try:
            write_atomically(self._state.serving_file, _SPECS.dump_json(specs))
        except OSError as error:
            log.error("What is served cannot be kept on disk", extra={"reason": error.errno})  # noqa: TRY400 - the number says it

    async def _report_if_due(self) -> None:
        statuses = self._loader.statuses()
        aside, quarantined = self._ledger.aside(), self._ledger.quarantined_files()
        state = ([status.model_dump() for status in statuses], aside, quarantined)
        if state == self._reported[1] and time.monotonic() - self._reported[0] < _REPORT_SECONDS:
            return
        used = self._keys.take_uses()
        report = ServerReport(
            server_id=self._server_id,
            version=__version__,
            started_at=self._started_at,
            deployments=statuses,
            keys_used=used,
            ledger_waiting_bytes=self._ledger.waiting_bytes(),
            ledger_rejected_rows=aside.rows,
            ledger_retry_rows=aside.retry_rows,
            ledger_lost_rows=aside.lost_rows,
            ledger_set_aside_bytes=self._ledger.aside_bytes(),
            quarantined_files=quarantined,
            sandbox=Kernel.probe().level,
        )
        try:
            await self._api.report(report)
        except TidemillError:
            self._keys.give_back_uses(used)
            raise
        self._reported = (time.monotonic(), state)

    def _store(self, content: bytes) -> None:
        try:
            write_atomically(self._state.snapshot_file, content)
        except OSError as error:
            log.error("The snapshot cannot be kept on disk", extra={"reason": error.errno})  # noqa: TRY400 - the number says it

    def _stored_snapshot(self) -> Snapshot | None:
        content = self._state.read(self._state.snapshot_file)
        if content is None:
            return None
        try:
            return Snapshot.model_validate_json(content)
        except ValidationError:
            self._state.quarantine.take(self._state.snapshot_file, "snapshot_unreadable")
            return None

    def _served_before(self) -> list[DeploymentSpec]:
        content = self._state.read(self._state.serving_file)
        if content is None:
            return []
        try:
            return _SPECS.validate_json(content)
        except ValidationError:
            self._state.quarantine.take(self._state.serving_file, "serving_unreadable")
            return []
