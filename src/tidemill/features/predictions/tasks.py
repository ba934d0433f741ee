"""The job that keeps the ledger's partitions ahead of time."""

from typing import Any

from pydantic import BaseModel

from tidemill.features.predictions import service
from tidemill.jobs.definition import JobContext, TaskDefinition
from tidemill.jobs.schedules import Schedule
from tidemill.kit.clock import utc_now


class PartitionsPayload(BaseModel):
    """Nothing to say."""


async def make_partitions(ctx: JobContext, _payload: PartitionsPayload) -> dict[str, Any]:
    """Make the partitions of today and the next days. Partitions that are there stay as they are."""
    return {"partitions_made": await service.make_partitions(ctx.services.sessions, utc_now())}


PARTITIONS = TaskDefinition(
    kind="predictions.partitions",
    queue="maintenance",
    payload=PartitionsPayload,
    run=make_partitions,
    timeout_seconds=60,
)
HOURLY = Schedule(name="predictions-partitions", cron="7 * * * *", task=PARTITIONS, payload=PartitionsPayload())
