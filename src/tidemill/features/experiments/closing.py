"""Runs of MLflow whose training ended before it could end them, and that would be shown as running for ever."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.db.engine import transaction
from tidemill.features.experiments import queries
from tidemill.jobs.definition import JobContext, TaskDefinition
from tidemill.jobs.schedules import Schedule
from tidemill.jobs.states import JobStatus
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import NotFound

_LOOK_BACK = timedelta(hours=26)
"""A worker that was away for a day finds what ended meanwhile."""
_MOST_TRAININGS = 200
_MOST_RUNS = 100
"""Of one training: its own run and those of its trials are fewer."""
_ENDS = {JobStatus.CANCELLED: "KILLED", JobStatus.FAILED: "FAILED"}


class ClosePayload(BaseModel):
    """Nothing to say."""


async def run_close(context: JobContext, _payload: ClosePayload) -> dict[str, Any]:
    """End in MLflow what trainings left open that failed or were cancelled lately. Raises Unavailable."""
    async with transaction(context.services.sessions) as session:
        ended = await queries.ended_without_model(session, utc_now() - _LOOK_BACK, _MOST_TRAININGS)
    return {"mlflow_runs_closed": await close(context.services.mlflow, ended)}


async def close(mlflow: MlflowRest, ended: Sequence[tuple[str, str, JobStatus, datetime]]) -> int:
    """``ended``: experiment, job, status and end of each training. How many runs were closed."""
    experiments = {name: await _experiment(mlflow, name) for name in {name for name, *_ in ended}}
    closed = 0
    for name, job_id, status, moment in ended:
        if (experiment := experiments[name]) is None:
            continue
        mine = f"attributes.status = 'RUNNING' and tags.`tidemill.job_id` = '{job_id}'"
        wanted = {"experiment_ids": [experiment], "filter": mine, "max_results": _MOST_RUNS}
        for run in (await mlflow.post("runs/search", wanted)).get("runs", []):
            change = {"run_id": run["info"]["run_id"], "status": _ENDS[status], "end_time": _milliseconds(moment)}
            await mlflow.post("runs/update", change)
            closed += 1
    return closed


async def _experiment(mlflow: MlflowRest, name: str) -> str | None:
    """None if nothing of it ever came to MLflow."""
    try:
        found = await mlflow.get("experiments/get-by-name", experiment_name=name)
    except NotFound:
        return None
    return str(found["experiment"]["experiment_id"])


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


CLOSE = TaskDefinition(
    kind="training.close", queue="maintenance", payload=ClosePayload, run=run_close, timeout_seconds=600
)
HOURLY = Schedule(name="training-close", cron="53 * * * *", task=CLOSE, payload=ClosePayload())
