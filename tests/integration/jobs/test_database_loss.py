"""Workers whose PostgreSQL goes away: it comes back soon, or not."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from tests.integration.jobs.conftest import JobDesk, StartWorker
from tests.integration.jobs.kinds import COMPUTE, EFFECT, OVERLONG, TASKS, Payload
from tests.integration.jobs.test_worker_process import all_gone, ticks_of
from tests.postgres import Postgres, postgres_server
from tidemill.db.engine import SessionFactory, create_engine, create_session_factory, transaction
from tidemill.db.migrate import migrate
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.settings.model import DatabaseSettings

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server that a test may stop, and must start again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(server: Postgres) -> DatabaseSettings:
    name = f"lost_{next(_numbers)}"
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    settings = DatabaseSettings(url=server.url(name))  # type: ignore[arg-type]
    migrate(settings)
    return settings


@pytest.fixture
async def sessions(database: DatabaseSettings) -> AsyncIterator[SessionFactory]:
    engine = create_engine(database, "tests")
    yield create_session_factory(engine)
    await engine.dispose()


async def restart(server: Postgres, pause_seconds: float) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(pause_seconds)
    await asyncio.to_thread(server.start)


async def test_a_restart_of_postgresql_costs_a_running_job_nothing_and_new_jobs_are_run(
    workers: StartWorker, desk: JobDesk, server: Postgres, tmp_path: Path
) -> None:
    worker = await workers(stalled_after_seconds=20)
    running = await desk.submit(COMPUTE, Payload(entry="tick", file=str(tmp_path / "ticks"), ticks=40))
    await desk.ticking(running)
    await restart(server, 2)
    later = await desk.submit(EFFECT)
    assert (await desk.reaches(later, "succeeded")).attempt == 1
    job = await desk.reaches(running, "succeeded")
    assert job.attempt == 1
    assert job.progress is not None
    assert job.progress["done"] == 40
    assert worker.process.poll() is None


async def test_an_outage_longer_than_the_lease_ends_the_child_and_the_job_is_tried_again(
    workers: StartWorker, desk: JobDesk, server: Postgres, tmp_path: Path
) -> None:
    worker = await workers()
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(tmp_path / "ticks"), ticks=80))
    await desk.ticking(job_id)
    await restart(server, 4)
    job = await desk.reaches(job_id, "succeeded")
    assert job.attempt == 2
    assert job.retries <= 1  # none where another look found the run silent before its own worker could hand it back
    assert worker.process.poll() is None


async def test_a_worker_without_its_database_for_too_long_exits_and_its_job_is_run_by_the_next(
    workers: StartWorker, desk: JobDesk, server: Postgres, tmp_path: Path
) -> None:
    worker = await workers(database_patience_seconds=2, stalled_after_seconds=20)
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(tmp_path / "ticks"), ticks=30))
    await desk.ticking(job_id)
    await asyncio.to_thread(server.stop)
    assert await asyncio.to_thread(worker.process.wait, 20) == 1
    assert any("PostgreSQL is away" in line["msg"] for line in worker.lines())
    assert await all_gone({pid for pid, _ in ticks_of(tmp_path / "ticks")})
    await asyncio.to_thread(server.start)
    await workers()
    assert (await desk.reaches(job_id, "succeeded")).attempt == 2


async def test_a_transaction_that_falls_silent_is_ended_so_that_it_blocks_nobody(
    desk: JobDesk, worker_services: WorkerServices
) -> None:
    worker = worker_services.settings.worker.model_copy(
        update={"stalled_after_seconds": 2.5, "max_retries": 0, "heartbeat_seconds": 0.1}
    )
    settings = worker_services.settings.model_copy(update={"worker": worker})
    services = WorkerServices(settings, worker_services.sessions, worker_services.store, worker_services.mlflow)
    job_id = await desk.submit(OVERLONG, Payload(value=4))
    await run_pending(services, TASKS)
    job = await desk.get(job_id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "database_unavailable")
    async with transaction(desk.sessions) as session:
        assert (await session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"))) == 0
