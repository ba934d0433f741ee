"""Jobs that start by the clock, once however many workers there are."""

import logging
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job
from tidemill.jobs import queries
from tidemill.jobs.definition import TaskDefinition
from tidemill.jobs.service import JobRequest, enqueue
from tidemill.kit.ids import uuid7

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """When a task runs by itself.

    name: stable and unique. cron: five fields, or six with the SECONDS LAST. A moment is left out while the job of an
    earlier one is still waiting or running, so that a slow task does not pile up.
    """

    name: str
    cron: str
    task: TaskDefinition[Any]
    payload: BaseModel

    @property
    def principal(self) -> str:
        return f"schedule:{self.name}"


async def fire(sessions: SessionFactory, schedule: Schedule, timestamp: int) -> Job | None:
    """Enqueue the job of one moment (seconds since 1970, UTC); the same moment again gives no second job."""
    async with transaction(sessions) as session:
        if await queries.has_open_job(session, schedule.task.kind, schedule.principal):
            log.info("Schedule left out: its last job is still open", extra={"kind": schedule.task.kind})
            return None
        request = JobRequest(
            principal=schedule.principal,
            request_id=uuid7().hex,
            idempotency_key=f"{schedule.principal}/{timestamp}",
        )
        return await enqueue(session, schedule.task, schedule.payload, request)
