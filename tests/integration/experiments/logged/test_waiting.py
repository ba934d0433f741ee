"""A training whose result cannot be stored, because the disk is away, is not lost."""

import contextlib

import httpx
import pytest

from tests.integration.conftest import RunJobs
from tests.integration.experiments.conftest import PushDataset
from tests.integration.experiments.data import loans
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tests.integration.mounts import Mount, UnmountedAtUpload
from tidemill.adapters.object_store import ObjectStore
from tidemill.adapters.store_mark import FOREIGN
from tidemill.db.engine import SessionFactory
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.kit.errors import DeadlineExceeded
from tidemill.settings.model import Settings
from tidemill.worker.tasks import TASKS

RUNS = "/api/v1/training-runs"
_AUTH = ("platform", MLFLOW_TOKEN)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"retry_backoff_seconds": 0.05, "max_retries": 0})
    return settings.model_copy(update={"worker": worker})


@pytest.fixture
def store(mount: Mount, sessions: SessionFactory) -> ObjectStore:
    return UnmountedAtUpload(mount, sessions, "bundles/")


@pytest.fixture
def mount(settings: Settings) -> Mount:
    return Mount(settings.data_dir / "objects")


async def test_a_training_waits_while_the_disk_of_the_store_is_away_and_succeeds_once_it_is_back(
    *,
    api: httpx.AsyncClient,
    push_dataset: PushDataset,
    run_jobs: RunJobs,
    worker_services: WorkerServices,
    mount: Mount,
    mlflow_server: str,
) -> None:
    await push_dataset("stranded", loans())
    started = (await api.post(RUNS, json={"dataset": "stranded", "target": "good", "trials": 1})).json()
    with contextlib.suppress(DeadlineExceeded):  # it is due again by then
        await run_pending(worker_services, TASKS, 0)
    job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
    assert (job["status"], job["error"]["code"]) == ("queued", FOREIGN)
    assert list(mount.path.iterdir()) == []
    async with httpx.AsyncClient(base_url=f"{mlflow_server}/api/2.0/mlflow", auth=_AUTH, timeout=30) as mlflow:
        (trial,) = await _trials(mlflow, started["job_id"])
        begun = {"run_id": trial["run_id"], "status": "RUNNING"}  # as an attempt leaves it that is killed just then
        assert (await mlflow.post("runs/update", json=begun)).is_success
        mount.mount()
        await run_jobs()
        job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert await _trials(mlflow, started["job_id"]) == [{"run_id": trial["run_id"], "status": "FINISHED"}]


async def _trials(mlflow: httpx.AsyncClient, job_id: str) -> list[dict[str, str]]:
    found = await mlflow.get("experiments/get-by-name", params={"experiment_name": "stranded-good"})
    mine = f"tags.`tidemill.job_id` = '{job_id}' and tags.`tidemill.trial` != 'none'"
    search = {"experiment_ids": [found.json()["experiment"]["experiment_id"]], "filter": mine, "max_results": 10}
    runs = (await mlflow.post("runs/search", json=search)).json().get("runs", [])
    return [{name: run["info"][name] for name in ("run_id", "status")} for run in runs]
