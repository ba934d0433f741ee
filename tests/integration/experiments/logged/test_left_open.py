"""What a killed attempt left open in MLflow is completed by the next one, and stands there once."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import update

from tests.integration.experiments.conftest import PushDataset
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job
from tidemill.features.experiments import closing, queries
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.states import JobStatus
from tidemill.kit.clock import utc_now
from tidemill.training import mlflow_record
from tidemill.training.reports import RunHead


async def test_runs_of_trainings_that_ended_for_good_are_ended_in_mlflow_too(
    api: httpx.AsyncClient, sessions: SessionFactory, worker_services: WorkerServices, push_dataset: PushDataset
) -> None:
    await push_dataset("plots", b"x,y\n" + b"".join(b"%d,%d\n" % (number, number % 2) for number in range(60)))
    mlflow = worker_services.mlflow
    experiment = (await mlflow.post("experiments/create", {"name": "plots-y"}))["experiment_id"]
    runs = {}
    for status in ("failed", "cancelled", "running", "succeeded"):
        started = (await api.post("/api/v1/training-runs", json={"dataset": "plots", "target": "y"})).json()
        tags = [{"key": mlflow_record.JOB_TAG, "value": started["job_id"]}]
        made = await mlflow.post("runs/create", {"experiment_id": experiment, "tags": tags})
        runs[status] = made["run"]["info"]["run_id"]
        async with transaction(sessions) as session:
            change = {"status": status, "finished_at": utc_now()}
            await session.execute(update(Job).where(Job.id == started["job_id"]).values(change))
    async with transaction(sessions) as session:
        ended = await queries.ended_without_model(session, utc_now() - timedelta(hours=1), 10)
    assert [await closing.close(mlflow, ended) for _ in range(2)] == [2, 0]
    found = {name: (await mlflow.get("runs/get", run_id=run_id))["run"]["info"] for name, run_id in runs.items()}
    assert {name: info["status"] for name, info in found.items()} == {
        "failed": "FAILED", "cancelled": "KILLED", "running": "RUNNING", "succeeded": "RUNNING",
    }  # fmt: skip
    assert "end_time" in found["failed"]


async def test_trainings_of_which_nothing_came_to_mlflow_are_passed_over(worker_services: WorkerServices) -> None:
    ended = [("never-logged", "job_1", JobStatus.FAILED, utc_now())]
    assert await closing.close(worker_services.mlflow, ended) == 0


class _Killed(Exception):
    pass


class _EndsBefore:
    """A client whose process is killed before its call of ``step`` is made."""

    def __init__(self, client: MlflowClient, step: str) -> None:
        self._client, self._step = client, step

    def __getattr__(self, name: str) -> Any:
        if name == self._step:
            raise _Killed
        return getattr(self._client, name)


def test_a_model_that_was_begun_is_completed_and_registered_once(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", MLFLOW_TOKEN)
    client = MlflowClient(mlflow_server, mlflow_server)
    experiment = client.create_experiment("left-open")
    run_id = client.create_run(experiment).info.run_id
    head = cast("RunHead", SimpleNamespace(model_name="left-open", job_id="job"))
    for step in ("log_model_artifacts", "finalize_logged_model", "log_outputs", "create_model_version"):
        killed = cast("MlflowClient", _EndsBefore(client, step))
        with pytest.raises(_Killed):
            mlflow_record._model(killed, experiment, run_id, head, tmp_path)
    for _ in range(2):
        mlflow_record._model(client, experiment, run_id, head, tmp_path)
    logged = client.search_logged_models([experiment])
    assert [str(model.status) for model in logged] == ["READY"]
    assert len(client.get_run(run_id).outputs.model_outputs) == 1
    assert len(client.search_model_versions("name = 'left-open'")) == 1
