"""Jobs as users see them. The queue's own tables belong to Procrastinate."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class Job(Base):
    """One execution of a task. ``attempt`` is the fence: a run may write only while its attempt is the present one."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_created_at", "status", "created_at"),
        Index("ix_jobs_kind_created_at", "kind", "created_at"),
        Index(
            "uq_jobs_idempotency_key",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default="0")
    graceful_returns: Mapped[int] = mapped_column(server_default="0")
    """Attempts that ended because their worker was stopped in good order, or because the object store was away; they
    count against no limit."""
    retries: Mapped[int] = mapped_column(server_default="0")
    """Attempts that failed for a passing reason, such as a server that was away; they have a limit of their own."""
    max_attempts: Mapped[int | None]
    """Attempts this job may take, however they end; the worker's settings when absent."""
    timeout_seconds: Mapped[float]
    payload: Mapped[Json]
    progress: Mapped[Json | None]
    result: Mapped[Json | None]
    error: Mapped[Json | None]
    subject: Mapped[str | None]
    """What the job is about, such as ``dataset/adult``: for lists and for people."""
    principal: Mapped[str]
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]
    """The step of a trace that asked for it, as W3C Trace Context writes it."""
    idempotency_key: Mapped[str | None]
    engine_job_id: Mapped[int | None] = mapped_column(BigInteger)
    """The queue's entry for the present delivery. An older delivery that still turns up starts nothing."""
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    run_at: Mapped[datetime | None]
    """Not to be started before this moment: a schedule, or the wait before a retry."""
    started_at: Mapped[datetime | None]
    """When the latest attempt began."""
    heartbeat_at: Mapped[datetime | None]
    """When the running attempt was last known to be alive. A job silent for too long is given to another worker."""
    finished_at: Mapped[datetime | None]


class JobLog(Base):
    """One line a job wrote, in order of ``seq``."""

    __tablename__ = "job_logs"
    __table_args__ = (Index("ix_job_logs_job_id_seq", "job_id", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    level: Mapped[str]
    message: Mapped[str]
    written_at: Mapped[CreatedAt]
