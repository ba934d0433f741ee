"""A training that ends for good without a model leaves nothing in MLflow that seems to go on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from mlflow.tracking import MlflowClient
from pydantic import SecretStr

from tests.integration.conftest import RunJobs
from tests.integration.experiments.conftest import PushDataset
from tests.integration.experiments.data import loans
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.experiments import service
from tidemill.features.experiments.left_open import EndRunsPayload
from tidemill.features.experiments.tasks import END_RUNS, TASK
from tidemill.jobs.definition import JobContext, WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.jobs.service import JobRequest, enqueue
from tidemill.kit.errors import Invalid, Unavailable
from tidemill.training.mlflow_record import log_trials
from tidemill.training.order import DatasetReference, MlflowTarget
from tidemill.training.reports import RunHead
from tidemill.training.search import TrialRecord

RUNS = "/api/v1/training-runs"
Run = Callable[[JobContext, Any], Awaitable[dict[str, Any] | None]]


@pytest.fixture
async def dataset(push_dataset: PushDataset) -> str:
    await push_dataset("ended", loans())
    return "ended"


def logging_then(url: str, fails: Exception | None) -> Run:
    """A training that has logged its trials and begun a model when it fails, or is cancelled."""

    def log(job_id: str, name: str) -> None:
        trials = [TrialRecord(0, "linear", {}, 0.5, 1, 1.0)]
        head = RunHead(job_id, name, cast("DatasetReference", _Dataset), {}, trials, "roc_auc")
        log_trials(MlflowTarget(url=url, token=SecretStr(MLFLOW_TOKEN)), head)
        client = MlflowClient(url, url)
        (parent,) = [run for run in runs_of(client, name, job_id) if run.data.tags["tidemill.trial"] == "none"]
        client.create_logged_model(parent.info.experiment_id, name=name, source_run_id=parent.info.run_id)
        tags = {"tidemill.job_id": job_id, "tidemill.trial": "1", "mlflow.parentRunId": parent.info.run_id}
        client.create_run(parent.info.experiment_id, tags=tags)

    async def run(context: JobContext, payload: Any) -> dict[str, Any]:
        async with transaction(context.services.sessions) as session:
            training, _ = await service.get_run(session, payload.run_id)
        await asyncio.to_thread(log, context.job_id, training.experiment_name)
        if fails is not None:
            raise fails
        await context.log("info", "logged")
        await asyncio.Event().wait()
        return {}

    return run


class _Dataset:
    name, number = "ended", 1


def runs_of(client: MlflowClient, name: str, job_id: str) -> list[Any]:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`tidemill.job_id` = '{job_id}'"))


def left(client: MlflowClient, name: str, job_id: str) -> tuple[list[str], list[str]]:
    """States of the runs, and of the models, of one job."""
    runs = runs_of(client, name, job_id)
    models = client.search_logged_models([runs[0].info.experiment_id])
    ids = {run.info.run_id for run in runs}
    return sorted(run.info.status for run in runs), [str(m.status) for m in models if m.source_run_id in ids]


async def start(api: httpx.AsyncClient, dataset: str, name: str) -> str:
    answer = await api.post(RUNS, json={"dataset": dataset, "target": "good", "trials": 1, "name": name})
    return str(answer.json()["job_id"])


async def test_what_a_failed_or_cancelled_training_left_open_in_mlflow_is_ended(
    *,
    api: httpx.AsyncClient,
    dataset: str,
    run_jobs: RunJobs,
    worker_services: WorkerServices,
    sessions: SessionFactory,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", MLFLOW_TOKEN)
    client = MlflowClient(mlflow_server, mlflow_server)
    failed = await start(api, dataset, "ended-failed")
    fails = logging_then(mlflow_server, Invalid("no_model", "There is none."))
    await run_pending(worker_services, [replace(TASK, run=fails)])
    assert left(client, "ended-failed", failed) == (["FAILED", "FAILED", "FINISHED"], ["FAILED"])

    cancelled = await start(api, dataset, "ended-cancelled")

    async def away(_services: WorkerServices, _job_id: str) -> None:
        raise Unavailable("mlflow_unavailable", "MLflow does not answer.")

    waits = replace(TASK, run=logging_then(mlflow_server, None), ended=away)
    running = asyncio.create_task(run_pending(worker_services, [waits]))
    async with asyncio.timeout(60):
        while not (await api.get(f"/api/v1/jobs/{cancelled}/logs")).json()["items"]:
            await asyncio.sleep(0.05)
    await api.post(f"/api/v1/jobs/{cancelled}:cancel")
    await running
    assert (await api.get(f"/api/v1/jobs/{cancelled}")).json()["status"] == "cancelled"
    assert left(client, "ended-cancelled", cancelled) == (["FINISHED", "RUNNING", "RUNNING"], ["PENDING"])

    async with transaction(sessions) as session:
        job = await enqueue(session, END_RUNS, EndRunsPayload(), JobRequest("schedule:test"))
    await run_jobs()
    assert (await api.get(f"/api/v1/jobs/{job.id}")).json()["result"] == {"runs_ended": 2}
    assert left(client, "ended-cancelled", cancelled) == (["FINISHED", "KILLED", "KILLED"], ["FAILED"])
