"""SQL of retention: each statement deletes at most ``limit`` rows, and none that somebody is writing to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.deployments import ModelServer
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.db.tables.keys import IdempotencyKey
from tidemill.jobs.states import FINAL


def _ended(before: datetime) -> ColumnElement[bool]:
    """A job is created before it ends; the index is by creation."""
    return Job.status.in_(FINAL) & (Job.created_at < before) & (Job.finished_at < before)


async def delete_job_logs(session: AsyncSession, before: datetime, limit: int) -> int:
    """Lines of jobs that ended before a moment."""
    old = select(JobLog.seq).join(Job, Job.id == JobLog.job_id).where(_ended(before)).limit(limit)
    return await _count(session, delete(JobLog).where(JobLog.seq.in_(old)))


async def delete_jobs(session: AsyncSession, before: datetime, limit: int) -> int:
    """Jobs that ended before a moment, with what is left of their logs."""
    old = select(Job.id).where(_ended(before)).order_by(Job.created_at).limit(limit).with_for_update(skip_locked=True)
    return await _count(session, delete(Job).where(Job.id.in_(old)))


async def delete_model_servers(session: AsyncSession, before: datetime, limit: int) -> int:
    """Model servers last heard of before a moment."""
    old = select(ModelServer.id).where(ModelServer.seen_at < before).limit(limit).with_for_update(skip_locked=True)
    return await _count(session, delete(ModelServer).where(ModelServer.id.in_(old)))


async def delete_idempotency_keys(session: AsyncSession, before: datetime, limit: int) -> int:
    """Answers stored before a moment."""
    key = (IdempotencyKey.caller_sha256, IdempotencyKey.key)
    old = select(*key).where(IdempotencyKey.created_at < before).limit(limit).with_for_update(skip_locked=True)
    return await _count(session, delete(IdempotencyKey).where(tuple_(*key).in_(old)))


_QUEUE_ENTRIES = text(
    """
    DELETE FROM procrastinate_jobs WHERE id IN (
        SELECT entry.id FROM procrastinate_jobs AS entry
        WHERE entry.status NOT IN ('todo', 'doing')
          AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.engine_job_id = entry.id
                          AND jobs.status IN ('queued', 'running'))
          AND NOT EXISTS (SELECT 1 FROM procrastinate_events AS event
                          WHERE event.job_id = entry.id AND event.at >= :before)
        ORDER BY entry.id LIMIT :limit FOR UPDATE OF entry SKIP LOCKED
    )
    """
)


async def delete_queue_entries(session: AsyncSession, before: datetime, limit: int) -> int:
    """Finished entries of the queue, with their events, to which nothing happened since a moment."""
    return await _count(session, _QUEUE_ENTRIES, {"before": before, "limit": limit})


async def ended_jobs(session: AsyncSession, kind: str, before: datetime, limit: int) -> Sequence[str]:
    """Ids of jobs of a kind that ended before a moment, oldest first."""
    query = select(Job.id).where(Job.kind == kind, _ended(before)).order_by(Job.created_at).limit(limit)
    return (await session.scalars(query)).all()


async def _count(session: AsyncSession, statement: Any, values: dict[str, Any] | None = None) -> int:
    return int((await session.execute(statement, values)).rowcount)  # type: ignore[attr-defined]
