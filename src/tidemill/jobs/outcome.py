"""How an attempt ended, and what that makes of the job."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.store_mark import AWAY
from tidemill.db.tables.jobs import Job
from tidemill.jobs import lifecycle, queries
from tidemill.jobs.compute import DIED_CODE
from tidemill.jobs.run import Assignment, StopReason
from tidemill.jobs.states import JobStatus
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import DeadlineExceeded, TidemillError, Unavailable, to_record
from tidemill.settings.model import WorkerSettings

TIMEOUT_CODE = "job_timeout"
_LONGEST_WAIT_SECONDS = 300
_MOST_DOUBLINGS = 30
_JITTER = 0.1


@dataclass(frozen=True)
class Succeeded:
    result: Mapping[str, Any] | None


@dataclass(frozen=True)
class Failed:
    error: TidemillError


@dataclass(frozen=True)
class Stopped:
    reason: StopReason


Outcome = Succeeded | Failed | Stopped


def timed_out(seconds: float) -> Failed:
    return Failed(DeadlineExceeded(TIMEOUT_CODE, f"The job took longer than its limit of {seconds:g} seconds."))


def may_pass(error: TidemillError) -> bool:
    """True for what may be cured by trying again. A job too slow for its limit stays too slow."""
    return isinstance(error, Unavailable) and error.code != TIMEOUT_CODE


def backoff_seconds(earlier: int, first_wait_seconds: float) -> float:
    """Doubled for each earlier wait, at most five minutes, spread a little so that many jobs do not return as one."""
    wait = min(first_wait_seconds * 2.0 ** min(earlier, _MOST_DOUBLINGS), _LONGEST_WAIT_SECONDS)
    return wait * (1 + _JITTER * random.random())  # noqa: S311 - no secret


def waits_for_store(job: Job, error: TidemillError, settings: WorkerSettings) -> bool:
    """Whether the job is tried again because the object store is away, is not ours or refuses us."""
    patience = timedelta(hours=settings.store_patience_hours)
    return may_pass(error) and error.code in AWAY and utc_now() - job.created_at < patience


async def record(
    session: AsyncSession, assignment: Assignment, outcome: Outcome, settings: WorkerSettings
) -> JobStatus | None:
    """Write the outcome if this attempt is still the present one; the job's new state, None if it was overtaken."""
    job = await queries.lock_run(session, assignment.job_id, assignment.attempt)
    if job is None:
        return None
    match outcome:
        case Succeeded(result):
            await lifecycle.succeed(session, job, result)
        case Failed(error):
            await _record_failure(session, job, error, settings)
        case Stopped(StopReason.CANCELLED):
            await lifecycle.cancel(session, job)
        case Stopped(StopReason.SHUTDOWN):
            job.graceful_returns += 1
            await lifecycle.requeue(session, job)
        case Stopped():
            return None
    return JobStatus(job.status)


async def _record_failure(session: AsyncSession, job: Job, error: TidemillError, settings: WorkerSettings) -> None:
    if error.code == DIED_CODE:
        # The child was killed from outside or crashed: the next attempt may well kill it, or the machine, again.
        again, earlier = lifecycle.may_lose_another(job, settings.max_attempts), lifecycle.losses(job) - 1
    elif waits_for_store(job, error, settings):
        # An operator's matter, such as a disk that is not mounted: it costs the job none of its attempts.
        again, earlier = True, job.attempt - 1
        job.graceful_returns += 1
    else:
        again, earlier = may_pass(error) and lifecycle.may_retry(job, settings.max_retries), job.retries
        job.retries += again
    if not again:
        await lifecycle.fail(session, job, to_record(error))
        return
    job.error = to_record(error)
    wait = backoff_seconds(earlier, settings.retry_backoff_seconds)
    await lifecycle.requeue(session, job, utc_now() + timedelta(seconds=wait))
