"""One attempt of a job, as its worker sees it."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tidemill.db.tables.jobs import Job
from tidemill.jobs.lease import Lease


class StaleRun(Exception):
    """This attempt is no longer the present one: it must end without having written anything further."""


class StopReason(StrEnum):
    CANCELLED = "cancelled"
    OVERTAKEN = "overtaken"
    """Another worker has the job, or may have it by now."""
    SHUTDOWN = "shutdown"
    """The worker is being stopped: the job goes back to the queue at once."""


@dataclass(frozen=True)
class Assignment:
    """The job's row as it was when this attempt began."""

    job_id: str
    kind: str
    attempt: int
    timeout_seconds: float
    payload: dict[str, Any]
    principal: str
    request_id: str | None
    traceparent: str | None = None

    @classmethod
    def of(cls, job: Job) -> "Assignment":
        return cls(
            job_id=job.id,
            kind=job.kind,
            attempt=job.attempt,
            timeout_seconds=job.timeout_seconds,
            payload=job.payload,
            principal=job.principal,
            request_id=job.request_id,
            traceparent=job.traceparent,
        )


class Run:
    def __init__(self, assignment: Assignment, lease: Lease) -> None:
        self.assignment = assignment
        self.lease = lease
        self.stop_reason: StopReason | None = None
        self._work: asyncio.Task[Any] | None = None

    def begin(self, work: "asyncio.Task[Any]") -> None:
        self._work = work
        if self.stop_reason is not None:
            work.cancel()

    def stop(self, reason: StopReason) -> None:
        """End the work; the first reason counts. Its cleanup (ending the child) goes on after this returns."""
        if self.stop_reason is None:
            self.stop_reason = reason
            if self._work is not None:
                self._work.cancel()
