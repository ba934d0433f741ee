"""Procrastinate's worker around our `Runner`: takes entries from the queue, listens for new ones, keeps the clock."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import psycopg
from procrastinate import App, JobContext
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.worker import Worker

from tidemill.db.engine import conninfo, transaction
from tidemill.jobs import queries
from tidemill.jobs.definition import TaskDefinition, WorkerServices
from tidemill.jobs.delivery import RUN_JOB
from tidemill.jobs.lanes import Lane, lanes
from tidemill.jobs.run import StopReason
from tidemill.jobs.runner import Runner
from tidemill.jobs.schedules import Schedule, fire
from tidemill.jobs.sweep import sweep
from tidemill.kit.errors import DeadlineExceeded
from tidemill.kit.tasks import end_tasks
from tidemill.settings.model import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

_POLL_SECONDS = 1.0
"""Retries and scheduled jobs are not announced; they are found by looking."""
_RETRY_SECONDS = 0.5
_CONNECTION_TIMEOUT_SECONDS = 5
_CONNECTIONS = 6
"""One per lane listens; the others fetch, finish and beat."""
_SETTLING_SECONDS = 20
_LONGEST_SWEEP_INTERVAL_SECONDS = 2.5
_SWEEP_TIMEOUT_SECONDS = 20
_SHORT_WAIT_SECONDS = 0.02
_FORGET_WORKERS_AFTER_SECONDS = 300
"""A worker whose record is gone cannot go on; takeover does not depend on these records."""


class PatientConnector(PsycopgConnector):
    """Outlasts a restart of PostgreSQL, where Procrastinate's own worker would stop at the first failed heartbeat.

    A repeated call may find that the first one did reach the database. For each of the worker's calls that is harmless:
    an entry fetched twice leaves one that is never started, which the sweeper delivers again.
    """

    def __init__(self, patience_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._patience_seconds = patience_seconds

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        await self._patiently(lambda: PsycopgConnector.execute_query_async(self, query, **arguments))

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        return await self._patiently(lambda: PsycopgConnector.execute_query_one_async(self, query, **arguments))

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        return await self._patiently(lambda: PsycopgConnector.execute_query_all_async(self, query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        channels = list(channels)
        while True:
            try:
                await PsycopgConnector.listen_notify(self, on_notification, channels)
            except ConnectorException as error:
                if not _connection_failed(error):
                    raise
            await self.execute_query_one_async("SELECT 1")

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return await call()
            except ConnectorException as error:
                if not _connection_failed(error) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)


def _connection_failed(error: ConnectorException) -> bool:
    return isinstance(error.__cause__, (psycopg.OperationalError, psycopg.InterfaceError))


class JobEngine:
    """One worker's share of the queue."""

    def __init__(self, runner: Runner, schedules: Sequence[Schedule] = ()) -> None:
        self._runner = runner
        self._settings = runner.services.settings
        self._sessions = runner.services.sessions
        self._workers: list[Worker] = []
        self._app = App(connector=_connector(self._settings))
        self._app.task(name=RUN_JOB, pass_context=True)(self._run_job)
        for schedule in schedules:
            self._register(schedule)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connected to the database, with heartbeats and sweeping, while the block runs."""
        async with self._app.open_async(), self._runner.beating():
            sweeping = asyncio.create_task(self._sweep_on(), name="sweeper")
            try:
                yield
            finally:
                await end_tasks(sweeping)

    async def run(self) -> None:
        """Take and run jobs until `stop` is called. Raises if the queue fails for longer than our patience."""
        self._workers = [
            self._make_worker(lane, stay=True) for lane in lanes(self._settings.worker, self._runner.tasks.values())
        ]
        running = [asyncio.create_task(worker.run()) for worker in self._workers]  # type: ignore[no-untyped-call]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop()
            await asyncio.gather(*running)

    async def run_due(self) -> None:
        """Run what is due now, and return."""
        lane = Lane(self._settings.worker.queues or None, self._settings.worker.concurrency)
        await self._make_worker(lane, stay=False).run()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Take no more jobs, end the running ones and give them back. `run` returns once that is done."""
        for worker in self._workers:
            worker.stop()  # type: ignore[no-untyped-call]
        self._runner.stop_all(StopReason.SHUTDOWN)

    def _make_worker(self, lane: Lane, stay: bool) -> Worker:
        worker = self._settings.worker
        return Worker(
            self._app,
            queues=None if lane.queues is None else list(lane.queues),
            concurrency=lane.slots,
            wait=stay,
            listen_notify=stay,
            fetch_job_polling_interval=_POLL_SECONDS,
            shutdown_graceful_timeout=worker.termination_grace_seconds + _SETTLING_SECONDS if stay else None,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=worker.heartbeat_seconds,
            stalled_worker_timeout=_FORGET_WORKERS_AFTER_SECONDS,
        )

    async def _run_job(self, context: JobContext, job_id: str) -> None:
        assert context.job.id is not None
        await self._runner.deliver(job_id, context.job.id)

    def _register(self, schedule: Schedule) -> None:
        async def fire_schedule(timestamp: int) -> None:
            await fire(self._sessions, schedule, timestamp)

        name = f"tidemill.schedule.{schedule.name}"
        task = self._app.task(name=name, queue=schedule.task.queue, queueing_lock=name)(fire_schedule)
        self._app.periodic(cron=schedule.cron, periodic_id=schedule.name)(task)

    async def _sweep_on(self) -> None:
        settings = self._settings.worker
        interval = min(settings.stalled_after_seconds / 4, _LONGEST_SWEEP_INTERVAL_SECONDS)
        while True:
            await asyncio.sleep(interval)
            try:
                async with asyncio.timeout(_SWEEP_TIMEOUT_SECONDS):
                    await self._sweep()
            except Exception as raised:  # noqa: BLE001 - the next round may succeed
                log.info("Sweep failed", extra={"error_type": type(raised).__name__})

    async def _sweep(self) -> None:
        settings = self._settings.worker
        swept = await sweep(self._sessions, settings)
        if swept is None:
            return
        self._runner.metrics.taken_over.inc(swept.taken_over)
        manager = self._app.job_manager
        for entry in await manager.get_stalled_jobs(seconds_since_heartbeat=settings.stalled_after_seconds):
            if entry.task_name != RUN_JOB:
                await manager.retry_job(entry)


def _connector(settings: Settings) -> PatientConnector:
    return PatientConnector(
        settings.worker.database_patience_seconds,
        conninfo=conninfo(settings.database),
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=_CONNECTION_TIMEOUT_SECONDS,
        kwargs={
            "application_name": "tidemill-worker-queue",
            "connect_timeout": settings.database.connect_timeout_seconds,
        },
    )


async def run_pending(
    services: WorkerServices,
    tasks: Iterable[TaskDefinition[Any]],
    timeout_seconds: float = 60,
    schedules: Sequence[Schedule] = (),
) -> None:
    """Run all queued jobs in this process, with those that they enqueue and their retries, as a worker would.

    Returns when none is left that is due within the time; raises DeadlineExceeded if one still runs by then.
    """
    deadline = time.monotonic() + timeout_seconds
    engine = JobEngine(Runner(services, tasks), schedules)
    async with engine.opened():
        while True:
            await engine.run_due()
            async with transaction(services.sessions) as session:
                wait = await queries.seconds_until_next(session)
            left = deadline - time.monotonic()
            if wait is None or wait > max(left, 0):
                return
            if left <= 0:
                raise DeadlineExceeded("jobs_pending", "Jobs were still open when the time was over.")
            await asyncio.sleep(max(wait, _SHORT_WAIT_SECONDS))
