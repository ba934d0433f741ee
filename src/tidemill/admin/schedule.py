"""`tidemill admin backup-schedule`: a process that backs up and drills by the clock, and shows how that goes.

A failure is tried again after a minute, then after longer and longer, at most an hour. What was done last is read from
the database, so a restart forgets nothing and repeats nothing.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from tidemill.admin.schedule_metrics import BackupMetrics
from tidemill.admin.work import Work, work_on
from tidemill.backup.record import Kind, last_run
from tidemill.backup.stack import stack_of
from tidemill.backup.target import LATEST
from tidemill.db.engine import create_session_factory, transaction
from tidemill.db.tables.backups import BackupRun
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import TidemillError
from tidemill.kit.tasks import end_tasks
from tidemill.settings.model import BackupSettings, Settings
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.metrics import create_registry
from tidemill.web.server import limits_of, server_config

log = logging.getLogger(__name__)

_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_LONGEST_SLEEP_SECONDS = 60.0
"""Clocks are set now and then, so the time is looked at again at least this often."""
_MAX_BODY_BYTES = 1 << 16


@dataclass
class Turn:
    """One kind of work: when it is due, and how it went."""

    kind: Kind
    due: Callable[[datetime | None], datetime | None]
    """The next time, given the last success; None for never."""
    work: Callable[[], Awaitable[bool]]
    last_success: datetime | None = None
    failures: int = 0
    not_before: datetime | None = None

    def next_at(self) -> datetime | None:
        due = self.due(self.last_success)
        if due is None or self.not_before is None:
            return due
        return max(due, self.not_before)

    def succeeded(self, now: datetime) -> None:
        self.last_success, self.failures, self.not_before = now, 0, None

    def failed(self, now: datetime) -> None:
        wait = min(_FIRST_WAIT * 2 ** min(self.failures, 10), _LONGEST_WAIT)
        self.failures, self.not_before = self.failures + 1, now + wait


def backup_due(settings: BackupSettings, last: datetime | None, now: datetime) -> datetime:
    """At once without a backup; else ``every_hours`` after the last, or at the next ``at`` after it."""
    if last is None:
        return now
    if settings.at is None:
        return last + timedelta(hours=settings.every_hours)
    hour, minute = map(int, settings.at.split(":"))
    same_day = last.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return same_day if same_day > last else same_day + timedelta(days=1)


def drill_due(settings: BackupSettings, last: datetime | None, now: datetime) -> datetime | None:
    if settings.drill_every_hours == 0:
        return None
    return now if last is None else last + timedelta(hours=settings.drill_every_hours)


class BackupSchedule:
    """Takes turns, one after the other: never two at once in one process, nor, by their lock, in several."""

    def __init__(self, work: Work, metrics: BackupMetrics) -> None:
        self._work = work
        self._metrics = metrics
        settings = work.settings.backup
        self.turns = (
            Turn("backup", lambda last: backup_due(settings, last, utc_now()), self._back_up),
            Turn("drill", lambda last: drill_due(settings, last, utc_now()), self._drill),
        )

    async def run(self) -> None:
        """Until cancelled."""
        await self._remember()
        while True:
            turn = self._next()
            next_at = None if turn is None else turn.next_at()
            if turn is not None and next_at is not None and next_at <= utc_now():
                await self.take(turn)
                continue
            wait_seconds = _LONGEST_SLEEP_SECONDS if next_at is None else (next_at - utc_now()).total_seconds()
            await asyncio.sleep(min(max(wait_seconds, 0), _LONGEST_SLEEP_SECONDS))
            with contextlib.suppress(SQLAlchemyError, TidemillError):  # the database may be away just now
                await self.look()

    def _next(self) -> Turn | None:
        """The backup goes first when both are due; a drill needs a backup."""
        backup, drill = self.turns
        at = [(moment, turn) for turn in self.turns if (moment := turn.next_at()) is not None]
        if backup.last_success is None:
            at = [(moment, turn) for moment, turn in at if turn is not drill]
        return min(at, key=lambda each: (each[0] > utc_now(), each[1] is drill, each[0]))[1] if at else None

    async def take(self, turn: Turn) -> None:
        """One run; whatever it raises is logged and counted."""
        started_at = utc_now()
        try:
            good = await turn.work()
        except TidemillError as error:
            log.error("%s failed: %s", turn.kind.capitalize(), error.detail, extra={"reason": error.code})  # noqa: TRY400
            good = False
        except Exception as error:
            log.exception("%s failed", turn.kind.capitalize(), extra={"error_type": type(error).__name__})
            good = False
        if good:
            turn.succeeded(utc_now())
            log.info("%s done", turn.kind.capitalize(), extra={"duration_ms": _milliseconds(started_at)})
        else:
            turn.failed(utc_now())
            self._metrics.failed(turn.kind)

    async def _back_up(self) -> bool:
        made = await self._work.back_up()
        self._metrics.backed_up(made.manifest)
        return True

    async def _drill(self) -> bool:
        result = await self._work.drill(LATEST)
        self._metrics.drilled(result)
        return result.passed

    async def _remember(self) -> None:
        """Go on where the last process left off. A database that is away is waited for."""
        while True:
            try:
                await self.look()
            except (SQLAlchemyError, TidemillError) as error:
                log.warning("The database is away", extra={"error_type": type(error).__name__})
                await asyncio.sleep(_FIRST_WAIT.total_seconds() / 6)
            else:
                return

    async def look(self) -> None:
        """What was done meanwhile, by the process before or by hand."""
        for turn in self.turns:
            run = await self._last_success(turn.kind)
            if run is not None and (turn.last_success is None or run.finished_at > turn.last_success):
                turn.succeeded(run.finished_at)
                self._metrics.remembered(turn.kind, run)

    async def _last_success(self, kind: Kind) -> BackupRun | None:
        stack = stack_of(self._work.settings)
        async with stack.engine() as engine, transaction(create_session_factory(engine)) as session:
            return await last_run(session, kind, succeeded=True)


def run_schedule(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; the exit code. Raises Invalid for a missing target or unusable keys."""
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    registry = create_registry()
    schedule = BackupSchedule(work_on(settings, lambda text: log.info("Backup: %s", text)), BackupMetrics(registry))
    app = create_web_app(WebConfig("Tidemill backup", registry, _MAX_BODY_BYTES), ())
    server = _Server(server_config(app, settings.backup.host, settings.backup.port, limits_of(settings.http)))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    working = asyncio.create_task(schedule.run(), name="schedule")
    serving = asyncio.create_task(server.serve(), name="http")
    stopping = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait({working, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    in_order = stopping.done()
    server.should_exit = True
    results = await end_tasks(working, stopping)
    results += await asyncio.gather(serving, return_exceptions=True)
    return 0 if in_order and not any(isinstance(each, Exception) for each in results) else 1


class _Server(uvicorn.Server):
    """Leaves the signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _milliseconds(since: datetime) -> int:
    return int((utc_now() - since).total_seconds() * 1000)
