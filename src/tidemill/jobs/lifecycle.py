"""Moves from one state to another, on a row that the caller has locked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.jobs import Job
from tidemill.jobs.delivery import deliver, withdraw
from tidemill.jobs.states import JobStatus, may_move
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict


def losses(job: Job) -> int:
    """Attempts, the present one included, that ended neither in good order nor for a passing reason."""
    return job.attempt - job.graceful_returns - job.retries


def may_lose_another(job: Job, max_losses: int) -> bool:
    """Whether a job that just lost its worker, or its child, gets another attempt."""
    if job.max_attempts is not None:
        return job.attempt - job.graceful_returns < job.max_attempts
    return losses(job) < max_losses


def may_retry(job: Job, max_retries: int) -> bool:
    """Whether a job that just failed for a passing reason gets another attempt."""
    if job.max_attempts is not None:
        return job.attempt - job.graceful_returns < job.max_attempts
    return job.retries < max_retries


async def succeed(session: AsyncSession, job: Job, result: Mapping[str, Any] | None) -> None:
    _move(job, JobStatus.SUCCEEDED)
    job.result, job.error = dict(result) if result is not None else None, None
    await session.flush()


async def fail(session: AsyncSession, job: Job, error: Mapping[str, Any]) -> None:
    _move(job, JobStatus.FAILED)
    job.error = dict(error)
    await session.flush()


async def cancel(session: AsyncSession, job: Job) -> None:
    waiting = job.status == JobStatus.QUEUED
    _move(job, JobStatus.CANCELLED)
    if waiting:
        await withdraw(session, job)
    await session.flush()


async def requeue(session: AsyncSession, job: Job, run_at: datetime | None = None) -> None:
    """Give the job to the queue again, as a new delivery; a job that shall be cancelled is cancelled instead."""
    if job.cancel_requested_at is not None:
        await cancel(session, job)
        return
    _move(job, JobStatus.QUEUED)
    job.run_at = run_at
    await deliver(session, job)


def _move(job: Job, new: JobStatus) -> None:
    present = JobStatus(job.status)
    if not may_move(present, new):
        raise Conflict("job_state_conflict", f"A job that is {present} cannot become {new}.")
    job.status = new
    job.finished_at = None if new is JobStatus.QUEUED else utc_now()
