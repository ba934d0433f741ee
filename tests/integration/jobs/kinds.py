"""Tasks of the tests."""

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import text

from tidemill.jobs.definition import Event, JobContext, Progress, TaskDefinition
from tidemill.kit.errors import Unavailable
from tidemill.sandbox.policy import Reach

ENTRIES = "tests.integration.jobs.entries"


class Payload(BaseModel):
    value: int = 0
    entry: str = ""
    file: str = ""
    ticks: int = 100
    failures: int = 0


async def _compute(context: JobContext, payload: Payload) -> dict[str, Any]:
    events: list[Event] = []

    async def keep(event: Event) -> None:
        events.append(event)

    reach = Reach(write=(Path(payload.file).parent,) if payload.file else ())
    result = await context.compute(f"{ENTRIES}:{payload.entry}", payload.model_dump(), reach, keep)
    return result | {"events": events, "attempt": context.attempt}


async def _effect(context: JobContext, payload: Payload) -> dict[str, Any]:
    """Fails ``failures`` times for a passing reason, then leaves one row behind."""
    if context.attempt <= payload.failures:
        raise Unavailable("mlflow_unavailable", "MLflow does not answer.")
    await context.progress(Progress("writing", 1, 1))
    async with context.transaction() as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS effects (job_id text, attempt int)"))
        await session.execute(
            text("INSERT INTO effects VALUES (:job_id, :attempt)"),
            {"job_id": context.job_id, "attempt": context.attempt},
        )
    return {"attempt": context.attempt, "request_id": context.request_id}


async def _sleep(context: JobContext, payload: Payload) -> dict[str, Any]:
    await asyncio.sleep(payload.value)
    return {}


async def _bug(context: JobContext, payload: Payload) -> dict[str, Any]:
    raise KeyError(payload.file)


async def _overlong_transaction(context: JobContext, payload: Payload) -> dict[str, Any]:
    async with context.transaction() as session:
        await asyncio.sleep(payload.value)
        await session.execute(text("SELECT 1"))
    return {}


COMPUTE = TaskDefinition("test.compute", "test", Payload, _compute, timeout_seconds=60)
EFFECT = TaskDefinition("test.effect", "test", Payload, _effect, timeout_seconds=60)
SLEEP = TaskDefinition("test.sleep", "test", Payload, _sleep, timeout_seconds=60)
BUG = TaskDefinition("test.bug", "test", Payload, _bug)
OVERLONG = TaskDefinition("test.overlong", "test", Payload, _overlong_transaction)
LONG = TaskDefinition("test.long", "test-long", Payload, _sleep, timeout_seconds=60, long=True)
TASKS = (COMPUTE, EFFECT, SLEEP, BUG, OVERLONG, LONG)
