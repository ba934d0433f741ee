"""SQL of jobs and their logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, literal, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut, cut_entities
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.jobs.states import JobStatus
from tidemill.schemas.jobs import JobFilter

_SWEEP_LOCK = 7236419


async def insert_job(session: AsyncSession, values: Mapping[str, Any]) -> Job | None:
    """The new row, or None if its idempotency key is taken (waits for whoever is just taking it)."""
    statement = (
        postgresql.insert(Job)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[Job.idempotency_key], index_where=text("idempotency_key IS NOT NULL"))
        .returning(Job)
    )
    return await session.scalar(statement)


async def by_idempotency_key(session: AsyncSession, key: str) -> Job | None:
    return await session.scalar(select(Job).where(Job.idempotency_key == key))


async def get(session: AsyncSession, job_id: str) -> Job | None:
    return await session.get(Job, job_id, populate_existing=True)


async def lock(session: AsyncSession, job_id: str) -> Job | None:
    statement = select(Job).where(Job.id == job_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock_run(session: AsyncSession, job_id: str, attempt: int) -> Job | None:
    """The row, held until the transaction ends, if this attempt is the running one."""
    statement = (
        select(Job)
        .where(Job.id == job_id, Job.attempt == attempt, Job.status == JobStatus.RUNNING)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return await session.scalar(statement)


async def page(session: AsyncSession, wanted: JobFilter, page_size: int, before_id: str | None) -> Cut[Job]:
    """Newest first; ids are sorted by creation."""
    statement = select(Job).order_by(Job.id.desc())
    if before_id is not None:
        statement = statement.where(Job.id < before_id)
    for column, value in ((Job.status, wanted.status), (Job.kind, wanted.kind), (Job.subject, wanted.subject)):
        if value is not None:
            statement = statement.where(column == value)
    large = (Job.payload, Job.progress, Job.result, Job.error)
    return await cut_entities(session, statement, large, page_size)


async def logs_after(session: AsyncSession, job_id: str, after_seq: int, limit: int) -> Cut[JobLog]:
    statement = select(JobLog).where(JobLog.job_id == job_id, JobLog.seq > after_seq).order_by(JobLog.seq)
    return await cut_entities(session, statement, (JobLog.message,), limit)


async def count_logs(session: AsyncSession, job_id: str) -> int:
    return await session.scalar(select(func.count()).select_from(JobLog).where(JobLog.job_id == job_id)) or 0


async def start(session: AsyncSession, job_id: str, delivery: int) -> Job | None:
    """Begin the next attempt, if the row waits for exactly this delivery."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.QUEUED, Job.engine_job_id == delivery)
        .values(
            status=JobStatus.RUNNING,
            attempt=Job.attempt + 1,
            started_at=func.clock_timestamp(),
            heartbeat_at=func.clock_timestamp(),
            run_at=None,
        )
        .returning(Job)
    )
    return await session.scalar(statement)


@dataclass(frozen=True)
class Journal:
    """What a run has to say since it last spoke. Times are when the lines were written, not when they were stored."""

    progress: Mapping[str, Any] | None
    lines: Sequence[tuple[datetime, str, str]]


async def write_journal(session: AsyncSession, job_id: str, attempt: int, journal: Journal) -> bool:
    """Store progress and log lines; False, storing nothing, if the run was overtaken."""
    job = await lock_run(session, job_id, attempt)
    if job is None:
        return False
    if journal.progress is not None:
        job.progress = dict(journal.progress)
    if journal.lines:
        rows = [
            {"job_id": job_id, "attempt": attempt, "level": level, "message": message, "written_at": at}
            for at, level, message in journal.lines
        ]
        await session.execute(insert(JobLog), rows)
    return True


async def add_log(session: AsyncSession, job: Job, level: str, message: str) -> None:
    session.add(JobLog(job_id=job.id, attempt=job.attempt, level=level, message=message))
    await session.flush()


@dataclass(frozen=True)
class Pulse:
    """What the database says of one run: whether it still holds, and whether it shall end."""

    job_id: str
    attempt: int
    running: bool
    cancel_requested: bool
    renewed: bool


_HEARTBEAT = text(
    """
    WITH mine AS (
        SELECT jobs.id FROM jobs
        JOIN unnest(CAST(:ids AS text[]), CAST(:attempts AS int[])) AS run (id, attempt)
          ON run.id = jobs.id AND run.attempt = jobs.attempt
        WHERE jobs.status = 'running'
        FOR NO KEY UPDATE OF jobs SKIP LOCKED
    ), renewed AS (
        UPDATE jobs SET heartbeat_at = clock_timestamp() FROM mine WHERE jobs.id = mine.id RETURNING jobs.id
    )
    SELECT jobs.id, jobs.attempt, jobs.status = 'running' AS running,
           jobs.cancel_requested_at IS NOT NULL AS cancel_requested,
           EXISTS (SELECT 1 FROM renewed WHERE renewed.id = jobs.id) AS renewed
    FROM jobs WHERE jobs.id = ANY (CAST(:ids AS text[]))
    """
)
"""A row that is locked at this moment is skipped: its own run is in a transaction, which a later beat finds ended."""


async def heartbeat(session: AsyncSession, runs: Mapping[str, int]) -> list[Pulse]:
    """Say that ``runs`` (attempt by job id) are alive. A run that is missing in the answer has no row any more."""
    found = await session.execute(_HEARTBEAT, {"ids": list(runs), "attempts": list(runs.values())})
    return [Pulse(*row) for row in found]


async def silent_runs(session: AsyncSession, seconds: float, limit: int) -> Sequence[Job]:
    """Running jobs without a heartbeat for ``seconds``, locked; rows that someone is writing to are left alone."""
    statement = (
        select(Job)
        .where(Job.status == JobStatus.RUNNING, Job.heartbeat_at < _ago(seconds))
        .order_by(Job.heartbeat_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()


_UNDELIVERED = text(
    """
    SELECT jobs.id FROM jobs
    LEFT JOIN procrastinate_jobs AS entry ON entry.id = jobs.engine_job_id
    WHERE jobs.status = 'queued'
      AND (entry.id IS NULL OR entry.status NOT IN ('todo', 'doing') OR (entry.status = 'doing' AND (
              SELECT max(event.at) FROM procrastinate_events AS event
              WHERE event.job_id = entry.id AND event.type = 'started'
          ) < clock_timestamp() - make_interval(secs => :seconds)))
    ORDER BY jobs.id LIMIT :limit
    FOR UPDATE OF jobs SKIP LOCKED
    """
)


async def undelivered(session: AsyncSession, seconds: float, limit: int) -> Sequence[Job]:
    """Queued jobs whose entry in the queue is gone, or was taken ``seconds`` ago by a worker that never started it."""
    ids = (await session.scalars(_UNDELIVERED, {"seconds": seconds, "limit": limit})).all()
    return (await session.scalars(select(Job).where(Job.id.in_(ids)))).all() if ids else []


async def has_open_job(session: AsyncSession, kind: str, principal: str) -> bool:
    statement = select(Job.id).where(
        Job.kind == kind, Job.principal == principal, Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))
    )
    return await session.scalar(statement.limit(1)) is not None


async def count_queued(session: AsyncSession, principal: str, most: int) -> int:
    """How many jobs of one principal wait; ``most`` for as many and for more."""
    waiting = select(Job.id).where(Job.principal == principal, Job.status == JobStatus.QUEUED).limit(most)
    return await session.scalar(select(func.count()).select_from(waiting.subquery())) or 0


async def try_sweeping(session: AsyncSession) -> bool:
    """True for the one worker that may sweep now, until its transaction ends."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(_SWEEP_LOCK))))


_REMOVE_LEFTOVERS = text(
    """
    DELETE FROM procrastinate_jobs AS entry
    USING procrastinate_jobs AS stale
    LEFT JOIN jobs ON jobs.engine_job_id = stale.id
    LEFT JOIN procrastinate_workers AS worker ON worker.id = stale.worker_id
    WHERE entry.id = stale.id AND stale.task_name = :task AND stale.status <> 'todo'
      AND (jobs.id IS NULL OR jobs.status NOT IN ('queued', 'running'))
      AND (worker.id IS NULL OR worker.last_heartbeat < clock_timestamp() - make_interval(secs => :seconds))
    """
)


async def remove_leftovers(session: AsyncSession, task: str, seconds: float) -> None:
    """Delete entries of the queue that no job waits for any more and whose worker is gone."""
    await session.execute(_REMOVE_LEFTOVERS, {"task": task, "seconds": seconds})


@dataclass(frozen=True)
class Backlog:
    queue: str
    waiting: int
    oldest_seconds: float


async def backlog(session: AsyncSession) -> list[Backlog]:
    """Jobs that could start now, by queue, and how long the oldest has been waiting."""
    due_since = func.coalesce(Job.run_at, Job.created_at)
    age = func.extract("epoch", func.clock_timestamp() - func.min(due_since))
    statement = (
        select(Job.queue, func.count(), age)
        .where(Job.status == JobStatus.QUEUED, due_since <= func.clock_timestamp())
        .group_by(Job.queue)
    )
    return [
        Backlog(queue, int(waiting), float(seconds)) for queue, waiting, seconds in await session.execute(statement)
    ]


async def seconds_until_next(session: AsyncSession) -> float | None:
    """How long until the next queued job may start (0: now); None if none is queued or running."""
    due = func.min(func.coalesce(Job.run_at, Job.created_at)).filter(Job.status == JobStatus.QUEUED)
    wait = func.greatest(literal(0.0), func.extract("epoch", due - func.clock_timestamp()))
    statement = select(func.count(), wait).where(Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)))
    open_jobs, seconds = (await session.execute(statement)).one()
    return float(seconds or 0) if open_jobs else None


def _ago(seconds: float) -> Any:
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
