"""The job that deletes, once a day, what has been kept long enough. Predictions and feedback are never among it."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import transaction
from tidemill.db.tables.keys import IDEMPOTENCY_KEYS_KEPT
from tidemill.features.experiments.kinds import TRAIN
from tidemill.features.retention import queries
from tidemill.jobs.definition import JobContext, Progress, TaskDefinition
from tidemill.jobs.schedules import Schedule
from tidemill.kit.clock import utc_now
from tidemill.sandbox.policy import Reach

_FORGET_STUDIES = "tidemill.training.studies:forget"
_AT_ONCE = 1000
_MOST_ROUNDS = 200
_MOST_STUDIES = 10_000
_Delete = Callable[[AsyncSession, datetime, int], Awaitable[int]]


class RetentionPayload(BaseModel):
    """Nothing to say: the settings of the worker count."""


async def run_retention(ctx: JobContext, _payload: RetentionPayload) -> dict[str, Any]:
    """Delete in short transactions. What exceeds the bounds of one day is left to the next."""
    settings, now = ctx.services.settings.retention, utc_now()
    jobs_before = now - timedelta(days=settings.jobs_days)
    logs_before = now - timedelta(days=min(settings.job_logs_days, settings.jobs_days))
    studies_before = now - timedelta(days=min(settings.studies_days, settings.jobs_days))
    removed = {"studies": await _forget_studies(ctx, studies_before)}
    for name, before, delete in (
        ("job_logs", logs_before, queries.delete_job_logs),
        ("jobs", jobs_before, queries.delete_jobs),
        ("model_servers", now - timedelta(days=settings.model_servers_days), queries.delete_model_servers),
        ("idempotency_keys", now - IDEMPOTENCY_KEYS_KEPT, queries.delete_idempotency_keys),
        ("queue_entries", now - timedelta(days=settings.queue_days), queries.delete_queue_entries),
    ):
        await ctx.progress(Progress(name))
        removed[name] = await _delete_all(ctx, delete, before)
    return removed


async def _delete_all(ctx: JobContext, delete: _Delete, before: datetime) -> int:
    total = 0
    for _ in range(_MOST_ROUNDS):
        async with ctx.transaction() as session:
            count = await delete(session, before, _AT_ONCE)
        total += count
        if count < _AT_ONCE:
            break
    return total


async def _forget_studies(ctx: JobContext, before: datetime) -> int:
    """Studies of trainings that ended. They are told by their jobs, so the jobs must not be deleted before them."""
    async with transaction(ctx.services.sessions) as session:
        names = await queries.ended_jobs(session, TRAIN.kind, before, _MOST_STUDIES)
    if not names:
        return 0
    database = ctx.services.settings.database
    url = (database.optuna_url or database.url).get_secret_value()
    request = {"study_url": url, "names": list(names)}
    return int((await ctx.compute(_FORGET_STUDIES, request, Reach(addresses=(url,))))["forgotten"])


RETENTION = TaskDefinition("retention.run", "maintenance", RetentionPayload, run_retention, timeout_seconds=3600)
DAILY = Schedule(name="retention", cron="13 3 * * *", task=RETENTION, payload=RetentionPayload())
