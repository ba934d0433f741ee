"""A training job whose computing child is killed goes on where it was and leaves nothing twice."""

import asyncio
import time
from typing import Any

import httpx
import psutil
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.experiments.conftest import PushDataset
from tests.integration.experiments.data import loans
from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.db.engine import SessionFactory, transaction

RUNS = "/api/v1/training-runs"
_AUTH = ("platform", MLFLOW_TOKEN)


async def test_a_killed_search_keeps_its_trials_and_finishes_once(
    api: httpx.AsyncClient, push_dataset: PushDataset, run_jobs: RunJobs, sessions: SessionFactory, mlflow_server: str
) -> None:
    await push_dataset("mortgages", loans())
    body = {"dataset": "mortgages", "target": "good", "trials": 12, "time_column": "joined"}
    started = (await api.post(RUNS, json=body)).json()
    running = asyncio.create_task(run_jobs())
    await _until_trials(api, started["job_id"], 2)
    children = [child for child in psutil.Process().children() if "tidemill.jobs.child" in child.cmdline()]
    assert len(children) == 1
    children[0].kill()
    await running
    job = (await api.get(f"/api/v1/jobs/{started['job_id']}")).json()
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
    run = (await api.get(f"{RUNS}/{started['run_id']}")).json()
    assert run["trials"] == 12
    async with transaction(sessions) as session:
        rows = await session.execute(text("SELECT state, count(*) FROM optuna.trials GROUP BY state"))
        states = {str(state): int(count) for state, count in rows}
        versions = await session.scalar(text("SELECT count(*) FROM model_versions"))
    assert states.get("COMPLETE", 0) + states.get("PRUNED", 0) == 12
    assert "RUNNING" not in states
    assert versions == 1
    parents = await asyncio.to_thread(_parents, mlflow_server, started["job_id"])
    assert len(parents) == 1


async def _until_trials(api: httpx.AsyncClient, job_id: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        progress = (await api.get(f"/api/v1/jobs/{job_id}")).json()["progress"]
        if progress and progress["stage"] == "search" and progress["done"] >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the search did not get that far")


def _parents(url: str, job_id: str) -> list[Any]:
    experiment = httpx.get(
        f"{url}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": "mortgages-good"},
        auth=_AUTH,
    ).json()["experiment"]["experiment_id"]
    mine = f"tags.`tidemill.job_id` = '{job_id}' and tags.`tidemill.trial` = 'none'"
    search = {"experiment_ids": [experiment], "filter": mine, "max_results": 10}
    return list(httpx.post(f"{url}/api/2.0/mlflow/runs/search", json=search, auth=_AUTH).json().get("runs", []))
