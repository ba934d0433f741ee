"""A training keeps the dataset version it reads until it has ended, in whatever way."""

from typing import Any

import httpx
from sqlalchemy import update

from tests.integration.conftest import RunJobs
from tests.integration.experiments.conftest import PushDataset
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job
from tidemill.jobs.sweep import sweep
from tidemill.kit.clock import utc_now
from tidemill.settings.model import Settings

RUNS = "/api/v1/training-runs"
VERSION = "/api/v1/datasets/loans/versions/1"
CONSTANT = b"x,y\n" + b"".join(b"%d,same\n" % number for number in range(60))


async def _start(api: httpx.AsyncClient, push_dataset: PushDataset) -> dict[str, Any]:
    await push_dataset("loans", CONSTANT)
    answer = await api.post(RUNS, json={"dataset": "loans", "target": "y", "trials": 1})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def _refused(api: httpx.AsyncClient, run_id: str) -> None:
    for path in (VERSION, "/api/v1/datasets/loans"):
        refused = await api.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "dataset_version_in_use")
        assert [error["pointer"] for error in refused.json()["errors"]] == [f"training/{run_id}"]


async def _status(api: httpx.AsyncClient, started: dict[str, Any]) -> str:
    return str((await api.get(f"/api/v1/jobs/{started['job_id']}")).json()["status"])


async def test_a_waiting_training_keeps_its_version_until_it_is_cancelled(
    api: httpx.AsyncClient, push_dataset: PushDataset
) -> None:
    started = await _start(api, push_dataset)
    await _refused(api, started["run_id"])
    assert (await api.post(f"/api/v1/jobs/{started['job_id']}:cancel")).status_code == 200
    assert (await api.delete(VERSION)).status_code == 204


async def test_a_training_that_failed_lets_its_version_go(
    api: httpx.AsyncClient, push_dataset: PushDataset, run_jobs: RunJobs
) -> None:
    started = await _start(api, push_dataset)
    await run_jobs()
    assert await _status(api, started) == "failed"
    assert (await api.delete("/api/v1/datasets/loans")).status_code == 204


async def test_a_running_training_keeps_its_version_until_its_worker_is_given_up(
    api: httpx.AsyncClient, push_dataset: PushDataset, sessions: SessionFactory, settings: Settings
) -> None:
    started = await _start(api, push_dataset)
    async with transaction(sessions) as session:
        running = update(Job).where(Job.id == started["job_id"]).values(status="running", attempt=1)
        await session.execute(running.values(heartbeat_at=utc_now().replace(year=2020)))
    await _refused(api, started["run_id"])
    await sweep(sessions, settings.worker.model_copy(update={"max_attempts": 1}))
    assert await _status(api, started) == "failed"
    assert (await api.delete(VERSION)).status_code == 204


async def test_a_training_that_is_taken_over_goes_on_keeping_its_version(
    api: httpx.AsyncClient, push_dataset: PushDataset, sessions: SessionFactory, settings: Settings
) -> None:
    started = await _start(api, push_dataset)
    async with transaction(sessions) as session:
        running = update(Job).where(Job.id == started["job_id"]).values(status="running", attempt=1)
        await session.execute(running.values(heartbeat_at=utc_now().replace(year=2020)))
    await sweep(sessions, settings.worker)
    assert await _status(api, started) == "queued"
    await _refused(api, started["run_id"])
