"""Runs deliveries: starts the attempt, keeps its lease, and writes how it ended, each behind the fence."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from tidemill.adapters.store_mark import AWAY, FOREIGN
from tidemill.db.engine import transaction
from tidemill.jobs import queries
from tidemill.jobs.context import RunContext
from tidemill.jobs.definition import TaskDefinition, WorkerServices
from tidemill.jobs.failures import explain, where
from tidemill.jobs.journal import RunJournal
from tidemill.jobs.lease import Lease, lease_clock
from tidemill.jobs.metrics import JobMetrics
from tidemill.jobs.outcome import Failed, Outcome, Stopped, Succeeded, record, timed_out
from tidemill.jobs.run import Assignment, Run, StaleRun, StopReason
from tidemill.jobs.scratch import ScratchSpace
from tidemill.jobs.states import JobStatus
from tidemill.kit.errors import Invalid, TidemillError, Unavailable
from tidemill.kit.logging import request_id_bound
from tidemill.kit.tasks import end_tasks
from tidemill.tracing.spans import Attributes, continued_span, mark_failed, outside_of_traces

log = logging.getLogger(__name__)

_LONGEST_BEAT_SECONDS = 1.0
"""Also how soon a running job learns that it shall be cancelled."""
_LOOK_SECONDS = 5
_RECORD_RETRY_SECONDS = 0.5
_ENDED_SECONDS = 10
_WITHOUT_RESULT = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})


class Runner:
    """Runs jobs of ``tasks`` in this process. Give deliveries to `deliver` while inside `beating`."""

    def __init__(
        self, services: WorkerServices, tasks: Iterable[TaskDefinition[Any]], metrics: JobMetrics | None = None
    ) -> None:
        self.services = services
        self.metrics = metrics or JobMetrics(CollectorRegistry())
        self._settings = services.settings.worker
        self.tasks = {task.kind: task for task in tasks}
        self._runs: dict[str, Run] = {}
        self._scratch = ScratchSpace(self._settings.scratch_dir)
        self._stopping = False
        self.idle = asyncio.Event()
        """Set while no job runs."""
        self.idle.set()
        self._last_beat = time.monotonic()
        self._failing = False

    @property
    def seconds_since_database(self) -> float:
        """How long ago PostgreSQL last answered a heartbeat."""
        return time.monotonic() - self._last_beat

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Keep the leases of running jobs while the block runs."""
        await asyncio.to_thread(self._scratch.remove_abandoned)
        self._last_beat = time.monotonic()
        beats = asyncio.create_task(self._beat_on(), name="job heartbeats")
        try:
            yield
        finally:
            await end_tasks(beats)
            await asyncio.to_thread(self._scratch.close)

    def stop_all(self, reason: StopReason) -> None:
        """End every run and start no more."""
        self._stopping = True
        for run in list(self._runs.values()):
            run.stop(reason)

    async def deliver(self, job_id: str, delivery: int) -> None:
        """Run the job that this entry of the queue stands for, unless the entry is out of date."""
        if self._stopping:
            return  # the sweeper finds that the entry came to nothing and delivers the job again
        asked_at = lease_clock()
        async with transaction(self.services.sessions) as session:
            job = await queries.start(session, job_id, delivery)
        if job is None:
            log.info("Delivery is out of date", extra={"job_id": job_id})
            return
        lease = Lease(self._settings.stalled_after_seconds, asked_at)
        with self._admitted(Run(Assignment.of(job), lease)) as run:
            await self._attempt(run)

    @contextlib.contextmanager
    def _admitted(self, run: Run) -> Iterator[Run]:
        self._runs[run.assignment.job_id] = run
        self.idle.clear()
        self.metrics.running.inc()
        if self._stopping:
            run.stop(StopReason.SHUTDOWN)
        try:
            with request_id_bound(run.assignment.request_id), _traced(run.assignment):
                yield run
        finally:
            self.metrics.running.dec()
            del self._runs[run.assignment.job_id]
            if not self._runs:
                self.idle.set()

    async def _attempt(self, run: Run) -> None:
        assignment = run.assignment
        extra = {"job_id": assignment.job_id, "kind": assignment.kind, "attempt": assignment.attempt}
        log.info("Job started", extra=extra)
        self.metrics.started.labels(assignment.kind).inc()
        began = time.monotonic()
        journal = self._journal(run)
        with outside_of_traces():  # it speaks all the time
            journal.start()
        outcome = await self._perform(run, journal)
        holds = outcome != Stopped(StopReason.OVERTAKEN)
        await journal.stop()
        status = await self._record(assignment, outcome, journal) if holds else None
        if status in _WITHOUT_RESULT:
            await self._tell_ended(assignment)
        seconds = time.monotonic() - began
        self.metrics.finished.labels(assignment.kind, status or StopReason.OVERTAKEN).inc()
        self.metrics.duration.labels(assignment.kind).observe(seconds)
        if isinstance(outcome, Failed):
            mark_failed(trace.get_current_span(), outcome.error.code)
        ending = {"status": status or StopReason.OVERTAKEN, "duration_ms": round(seconds * 1000)}
        reason = {"reason": outcome.error.code} if isinstance(outcome, Failed) else {}
        log.info("Job ended", extra=extra | ending | reason)

    async def _tell_ended(self, assignment: Assignment) -> None:
        task = self.tasks.get(assignment.kind)
        if task is None or task.ended is None:
            return
        try:
            async with asyncio.timeout(_ENDED_SECONDS):
                await task.ended(self.services, assignment.job_id)
        except Exception as raised:  # noqa: BLE001 - the job has ended, whatever fails now
            extra = {"job_id": assignment.job_id, "error_type": type(raised).__name__}
            log.warning("What a job left open stays so for now", extra=extra)

    def _journal(self, run: Run) -> RunJournal:
        assignment = run.assignment
        return RunJournal(
            self.services.sessions, assignment.job_id, assignment.attempt, lambda: run.stop(StopReason.OVERTAKEN)
        )

    async def _perform(self, run: Run, journal: RunJournal) -> Outcome:
        """The task, in a task of asyncio's own, so that it can be ended while this one goes on to write the outcome."""
        work = asyncio.create_task(self._call(run, journal), name=f"job {run.assignment.job_id}")
        run.begin(work)
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            run.stop(StopReason.SHUTDOWN)
            await asyncio.wait({work})
        if work.cancelled():
            return Stopped(run.stop_reason or StopReason.SHUTDOWN)
        outcome = work.result()
        # What fails while it is being ended fails because of that.
        return Stopped(run.stop_reason) if run.stop_reason and isinstance(outcome, Failed) else outcome

    async def _call(self, run: Run, journal: RunJournal) -> Outcome:
        limit = asyncio.timeout(run.assignment.timeout_seconds)
        try:
            async with limit:
                return Succeeded(await self._call_task(run, journal))
        except StaleRun:
            return Stopped(StopReason.OVERTAKEN)
        except Exception as raised:  # noqa: BLE001 - whatever a task raises becomes the job's error
            if limit.expired() and isinstance(raised, TimeoutError):
                outcome = timed_out(run.assignment.timeout_seconds)
            else:
                outcome = Failed(await self._cause(explain(raised)))
            self._tell(journal, outcome, raised)
            return outcome

    async def _cause(self, error: TidemillError) -> TidemillError:
        """A store that is away makes other servers fail, such as MLflow, which keeps its artifacts there."""
        if not isinstance(error, Unavailable) or error.code in AWAY:
            return error
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self.services.store.ensure_right()
        except Exception as raised:  # noqa: BLE001 - nothing that fails here may hide what failed before
            found = explain(raised)
            return found if found.code == FOREIGN else error
        return error

    async def _call_task(self, run: Run, journal: RunJournal) -> dict[str, Any] | None:
        task = self.tasks.get(run.assignment.kind)
        if task is None:
            # Passing: while a release is rolled out, a worker of the old one may meet the jobs of the new one.
            raise Unavailable("job_kind_unknown", "No worker that took the job knows its kind.")
        try:
            payload = task.payload.model_validate(run.assignment.payload)
        except ValidationError:
            raise Invalid("job_payload_invalid", "This worker cannot read the job's payload.") from None
        result = await task.run(RunContext(run, self.services, journal, self._scratch), payload)
        json.dumps(result, allow_nan=False)
        return result

    def _tell(self, journal: RunJournal, outcome: Failed, raised: BaseException) -> None:
        error = outcome.error
        journal.line("error", f"{error.detail} ({error.code})")
        if error.code == "internal" and error is not raised:
            journal.line("error", where(raised))
            log.error("Job failed unexpectedly\n%s", where(raised), extra={"error_type": type(raised).__name__})

    async def _record(self, assignment: Assignment, outcome: Outcome, journal: RunJournal) -> str | None:
        """Write the last words, then the outcome, waiting for PostgreSQL as long as the worker itself would."""
        deadline = time.monotonic() + self._settings.database_patience_seconds
        while True:
            try:
                await journal.drain()
                async with transaction(self.services.sessions) as session:
                    return await record(session, assignment, outcome, self._settings)
            except Exception as raised:
                passing = isinstance(explain(raised), Unavailable)
                if time.monotonic() > deadline or not (passing or isinstance(outcome, Succeeded)):
                    raise
                if not passing:  # a result that PostgreSQL cannot hold
                    outcome = Failed(explain(raised))
            await asyncio.sleep(_RECORD_RETRY_SECONDS)

    async def _beat_on(self) -> None:
        interval = min(self._settings.heartbeat_seconds, _LONGEST_BEAT_SECONDS)
        while True:
            was_failing, self._failing = self._failing, await self._try_beating()
            if was_failing and not self._failing:
                log.info("Heartbeats go on")
            await asyncio.sleep(interval)

    async def _try_beating(self) -> bool:
        """One beat; True if it failed. Leases lapse by themselves then, and the next beat may succeed."""
        try:
            async with asyncio.timeout(self._settings.stalled_after_seconds / 2):
                await self._beat()
        except Exception as raised:  # noqa: BLE001 - whatever it was, the next beat is the remedy
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "Heartbeats fail", extra={"error_type": type(raised).__name__})
            return True
        return False

    async def _beat(self) -> None:
        runs = dict(self._runs)
        asked_at = lease_clock()
        async with transaction(self.services.sessions) as session:
            pulses = await queries.heartbeat(session, {job_id: run.assignment.attempt for job_id, run in runs.items()})
        self._last_beat = time.monotonic()
        by_id = {pulse.job_id: pulse for pulse in pulses}
        for job_id, run in runs.items():
            _apply(by_id.get(job_id), run, asked_at)


def _traced(assignment: Assignment) -> AbstractContextManager[object]:
    attributes: Attributes = {"tidemill.job.id": assignment.job_id, "tidemill.job.attempt": assignment.attempt}
    return continued_span(f"job {assignment.kind}", assignment.traceparent, attributes)


def _apply(pulse: queries.Pulse | None, run: Run, asked_at: float) -> None:
    if pulse is None or not pulse.running or pulse.attempt != run.assignment.attempt:
        run.stop(StopReason.OVERTAKEN)
        return
    if pulse.renewed:
        run.lease.renew(asked_at)
    if pulse.cancel_requested:
        run.stop(StopReason.CANCELLED)
