"""What can be done with jobs: enqueue in the caller's transaction, look, read logs, cancel."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from opentelemetry.trace import SpanKind
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.jobs import lifecycle, queries
from tidemill.jobs.delivery import deliver
from tidemill.jobs.states import FINAL, JobStatus
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, NotFound
from tidemill.kit.ids import JOB, new_id
from tidemill.kit.logging import current_request_id
from tidemill.schemas.jobs import JobFilter
from tidemill.tracing.spans import child_span, current_traceparent


class JobKind(Protocol):
    """What `enqueue` needs to know of a task; every `TaskDefinition` has it."""

    @property
    def kind(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def timeout_seconds(self) -> float: ...


@dataclass(frozen=True)
class Kind:
    """A task as whoever enqueues it names it, where the task itself needs more than they may import."""

    kind: str
    queue: str
    timeout_seconds: float


SOON = 10
"""Priority of short work that somebody waits for, so that it does not queue behind trainings."""


@dataclass(frozen=True)
class JobRequest:
    """Who wants a job, and how it shall run.

    principal: id of the key, or the name of a schedule. subject: such as ``dataset/adult``. priority: higher runs
    first. timeout_seconds: of one attempt; the task's own when None. idempotency_key: a second request with the same
    key gives the first one's job; make it unique to its caller and its purpose. run_at: not before this moment.
    max_attempts: the worker's setting when None.
    """

    principal: str
    request_id: str | None = field(default_factory=current_request_id)
    subject: str | None = None
    priority: int = 0
    timeout_seconds: float | None = None
    idempotency_key: str | None = None
    run_at: datetime | None = None
    max_attempts: int | None = None


async def enqueue(session: AsyncSession, definition: JobKind, payload: BaseModel, request: JobRequest) -> Job:
    """Create a job and its entry in the queue on the session's connection: both commit with the caller's work.

    Raises Invalid (``idempotency_key_reused``) if the key was used for something else.
    """
    with child_span(f"enqueue {definition.kind}", SpanKind.PRODUCER):
        return await _enqueue(session, definition, payload.model_dump(mode="json"), request)


async def require_room(session: AsyncSession, principal: str, most: int) -> None:
    """Raises Conflict (``jobs_too_many``) while ``most`` jobs that ``principal`` asked for wait for a worker.

    Asked before the job is made, so that requests at the same moment may each bring one more.
    """
    if await queries.count_queued(session, principal, most) >= most:
        detail = f"{most} jobs of this API key wait already; let some of them run, or cancel some."
        raise Conflict("jobs_too_many", detail)


async def _enqueue(session: AsyncSession, definition: JobKind, content: dict[str, object], request: JobRequest) -> Job:
    values = {
        "id": new_id(JOB),
        "kind": definition.kind,
        "queue": definition.queue,
        "priority": request.priority,
        "status": JobStatus.QUEUED,
        "max_attempts": request.max_attempts,
        "timeout_seconds": request.timeout_seconds or definition.timeout_seconds,
        "payload": content,
        "subject": request.subject,
        "principal": request.principal,
        "request_id": request.request_id,
        "traceparent": current_traceparent(),
        "idempotency_key": request.idempotency_key,
        "run_at": request.run_at,
    }
    job = await queries.insert_job(session, values)
    if job is None:
        return await _earlier(session, definition.kind, content, request)
    await deliver(session, job)
    return job


async def _earlier(session: AsyncSession, kind: str, content: dict[str, object], request: JobRequest) -> Job:
    assert request.idempotency_key is not None
    job = await queries.by_idempotency_key(session, request.idempotency_key)
    if job is None or job.kind != kind or job.payload != content:
        raise Invalid("idempotency_key_reused", "This idempotency key was used for another request.")
    return job


async def get(session: AsyncSession, job_id: str) -> Job:
    """The job as it stands. Raises NotFound."""
    job = await queries.get(session, job_id)
    if job is None:
        raise NotFound("job_not_found", "There is no such job.")
    return job


async def list_page(session: AsyncSession, wanted: JobFilter, page_size: int, before_id: str | None = None) -> Cut[Job]:
    """At most ``page_size`` jobs, newest first, older than ``before_id``."""
    return await queries.page(session, wanted, page_size, before_id)


async def logs(session: AsyncSession, job_id: str, after_seq: int = 0, limit: int = 500) -> Cut[JobLog]:
    """At most ``limit`` lines, and at most a page of bytes, after the line ``after_seq``. Raises NotFound."""
    await get(session, job_id)
    return await queries.logs_after(session, job_id, after_seq, limit)


async def cancel(session: AsyncSession, job_id: str) -> Job:
    """Cancel a waiting job at once; ask a running one to end, which takes a few seconds.

    Raises NotFound, and Conflict for a job that has ended (``job_finished``) or is being cancelled already
    (``job_cancel_requested``, ``job_cancelled``).
    """
    job = await queries.lock(session, job_id)
    if job is None:
        raise NotFound("job_not_found", "There is no such job.")
    if job.status == JobStatus.CANCELLED:
        raise Conflict("job_cancelled", "The job has been cancelled before.")
    if job.status in FINAL:
        raise Conflict("job_finished", f"The job has already {job.status}.")
    if job.cancel_requested_at is not None:
        raise Conflict("job_cancel_requested", "The job is being cancelled already.")
    job.cancel_requested_at = utc_now()
    if job.status == JobStatus.QUEUED:
        await lifecycle.cancel(session, job)
    await session.flush()
    return job
