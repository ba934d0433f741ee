"""What a training that came to nothing left open in MLflow: its run would stay RUNNING there for ever.

A job's end is decided in several places (its worker, whoever finds that it lost one, the api for one that waits), and
MLflow may be away then. So whoever sees the end tells MLflow at once, and a job looks again every hour.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.db.engine import transaction
from tidemill.features.experiments import service
from tidemill.jobs.definition import JobContext, WorkerServices
from tidemill.jobs.states import JobStatus
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import NotFound
from tidemill.schemas.experiments import JOB_TAG

_LOOKS_BACK = timedelta(days=7)
_AT_ONCE = 100
_MOST_ROUNDS = 100
_IN_MLFLOW = {JobStatus.FAILED: "FAILED", JobStatus.CANCELLED: "KILLED"}


class EndRunsPayload(BaseModel):
    """Nothing to say."""


async def end_runs(ctx: JobContext, _payload: EndRunsPayload) -> dict[str, Any]:
    """End what trainings of the last days left open. Raises Unavailable while MLflow is away."""
    async with transaction(ctx.services.sessions) as session:
        unfinished = await service.unfinished(session, utc_now() - _LOOKS_BACK)
    ended = 0
    for training in unfinished:
        ended += await _end(ctx.services.mlflow, training)
    return {"runs_ended": ended}


async def end_runs_of(services: WorkerServices, job_id: str) -> None:
    """As `end_runs`, of one job. Raises Unavailable while MLflow is away."""
    async with transaction(services.sessions) as session:
        training = await service.unfinished_of(session, job_id)
    if training is not None:
        await _end(services.mlflow, training)


async def _end(mlflow: MlflowRest, training: service.Unfinished) -> int:
    """How many runs were open: the training's own, and those of its trials."""
    try:
        found = await mlflow.get("experiments/get-by-name", experiment_name=training.experiment_name)
    except NotFound:  # nothing was logged
        return 0
    experiment, count = str(found["experiment"]["experiment_id"]), 0
    async for run_id in _open_runs(mlflow, experiment, training.job_id):
        await _end_models(mlflow, experiment, run_id)
        now = int(utc_now().timestamp() * 1000)
        await mlflow.post(
            "runs/update", {"run_id": run_id, "status": _IN_MLFLOW[JobStatus(training.status)], "end_time": now}
        )
        count += 1
    return count


async def _open_runs(mlflow: MlflowRest, experiment: str, job_id: str) -> AsyncIterator[str]:
    """Those that were found are ended before more are asked for, so each page is the first one."""
    wanted = f"attributes.status = 'RUNNING' and tags.`{JOB_TAG}` = '{job_id}'"
    search = {"experiment_ids": [experiment], "filter": wanted, "max_results": _AT_ONCE}
    for _ in range(_MOST_ROUNDS):
        runs = (await mlflow.post("runs/search", search)).get("runs", [])
        for run in runs:
            yield str(run["info"]["run_id"])
        if len(runs) < _AT_ONCE:
            return


async def _end_models(mlflow: MlflowRest, experiment: str, run_id: str) -> None:
    """A logged model that was begun and not uploaded is PENDING for ever otherwise."""
    search = {"experiment_ids": [experiment], "filter": f"source_run_id = '{run_id}'", "max_results": _AT_ONCE}
    for model in (await mlflow.post("logged-models/search", search)).get("models", []):
        if model["info"].get("status") == "LOGGED_MODEL_PENDING":
            model_id = model["info"]["model_id"]
            with contextlib.suppress(NotFound):  # somebody deleted it meanwhile
                failed = {"model_id": model_id, "status": "LOGGED_MODEL_UPLOAD_FAILED"}
                await mlflow.patch(f"logged-models/{model_id}", failed)
