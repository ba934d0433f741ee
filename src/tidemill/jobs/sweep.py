"""Finds jobs that lost their worker, or their entry in the queue, and puts them back to work.

It runs beside the jobs in every worker, not as a job: a task that waits for a free slot could not rescue anything while
the slots are taken. An advisory lock lets one worker sweep at a time.
"""

import logging
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job
from tidemill.jobs import lifecycle, queries
from tidemill.jobs.delivery import RUN_JOB, deliver
from tidemill.kit.errors import Unavailable, to_record
from tidemill.settings.model import WorkerSettings

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 100
_LEFTOVERS_STALLED_TIMES = 10
"""Leftovers hurt nobody; a worker that was only slow shall still find its entry when it finishes."""


@dataclass(frozen=True)
class Swept:
    taken_over: int
    redelivered: int


async def sweep(sessions: SessionFactory, settings: WorkerSettings) -> Swept | None:
    """One round; None if another worker is at it."""
    async with transaction(sessions) as session:
        if not await queries.try_sweeping(session):
            return None
        lost = await queries.silent_runs(session, settings.stalled_after_seconds, _MOST_AT_ONCE)
        for job in lost:
            await _take_over(session, job, settings.max_attempts)
        undelivered = await queries.undelivered(session, settings.stalled_after_seconds, _MOST_AT_ONCE)
        for job in undelivered:
            await deliver(session, job)
        await queries.remove_leftovers(session, RUN_JOB, _LEFTOVERS_STALLED_TIMES * settings.stalled_after_seconds)
        return Swept(len(lost), len(undelivered))


async def _take_over(session: AsyncSession, job: Job, max_losses: int) -> None:
    extra = {"job_id": job.id, "kind": job.kind, "attempt": job.attempt}
    log.warning("Job lost its worker", extra=extra)
    await queries.add_log(session, job, "warning", f"Attempt {job.attempt} lost its worker.")
    if lifecycle.may_lose_another(job, max_losses):
        await lifecycle.requeue(session, job)
    else:
        error = Unavailable("worker_lost", f"The job lost its worker; it was the last of {job.attempt} attempts.")
        await lifecycle.fail(session, job, to_record(error))
