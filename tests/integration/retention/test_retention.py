"""What is old is deleted, what is young, open or not ours to delete stays."""

from datetime import timedelta
from typing import Any

import optuna
from sqlalchemy import func, select, text

from tests.integration.ledger_rows import Predicted, add_predictions
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.deployments import ModelServer
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.db.tables.keys import IdempotencyKey
from tidemill.features.retention import queries, tasks
from tidemill.features.retention.tasks import DAILY, RETENTION, RetentionPayload
from tidemill.jobs.definition import WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.jobs.schedules import fire
from tidemill.jobs.service import JobRequest, enqueue
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.settings.model import RetentionSettings
from tidemill.training.studies import open_storage


def _job(days: float, status: str = "succeeded", kind: str = "datasets.ingest") -> Job:
    then = utc_now() - timedelta(days=days)
    return Job(
        id=ids.new_id(ids.JOB), kind=kind, queue="data", status=status, payload={}, timeout_seconds=1,
        principal="key_1", created_at=then, finished_at=then if status != "queued" else None,
        run_at=utc_now() + timedelta(days=1) if status == "queued" else None,
    )  # fmt: skip


async def _add(sessions: SessionFactory, *rows: Any) -> None:
    async with transaction(sessions) as session:
        for row in rows:
            session.add(row)
            await session.flush()


async def _left(sessions: SessionFactory, column: Any) -> list[Any]:
    async with transaction(sessions) as session:
        return list(await session.scalars(select(column).order_by(column)))


async def _run(services: WorkerServices) -> dict[str, Any]:
    async with transaction(services.sessions) as session:
        job = await enqueue(session, RETENTION, RetentionPayload(), JobRequest("key_test"))
    await run_pending(services, [RETENTION])
    async with transaction(services.sessions) as session:
        found = await session.get_one(Job, job.id)
        assert found.status == "succeeded", found.error
        await session.delete(found)
        return dict(found.result or {})


async def test_ended_jobs_and_their_logs_go_by_age_and_open_ones_stay(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    young, quiet, old, failed, waiting = (
        _job(29), _job(31), _job(91), _job(91, "failed"), _job(400, "queued"),
    )  # fmt: skip
    jobs = (young, quiet, old, failed, waiting)
    await _add(sessions, *jobs, *(JobLog(job_id=job.id, attempt=1, level="info", message="words") for job in jobs))
    removed = await _run(worker_services)
    assert await _left(sessions, Job.id) == sorted(job.id for job in (young, quiet, waiting))
    assert await _left(sessions, JobLog.job_id) == sorted(job.id for job in (young, waiting))
    assert (removed["jobs"], removed["job_logs"]) == (2, 3)
    assert (await _run(worker_services))["jobs"] == 0


async def test_deleting_goes_on_batch_by_batch(sessions: SessionFactory) -> None:
    await _add(sessions, *(_job(100 + number) for number in range(5)))
    counts = []
    for _ in range(3):
        async with transaction(sessions) as session:
            counts.append(await queries.delete_jobs(session, utc_now() - timedelta(days=90), 2))
    assert counts == [2, 2, 1]


async def test_silent_model_servers_and_expired_answers_go(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    now = utc_now()
    await _add(
        sessions,
        ModelServer(id="gone", seen_at=now - timedelta(days=8), report={}),
        ModelServer(id="there", seen_at=now - timedelta(days=6), report={}),
        IdempotencyKey(caller_sha256="c", key="new", request_sha256="r", created_at=now - timedelta(hours=23)),
        IdempotencyKey(caller_sha256="c", key="old", request_sha256="r", created_at=now - timedelta(hours=25)),
    )
    removed = await _run(worker_services)
    assert (removed["model_servers"], removed["idempotency_keys"]) == (1, 1)
    assert await _left(sessions, ModelServer.id) == ["there"]
    assert await _left(sessions, IdempotencyKey.key) == ["new"]


async def test_finished_entries_of_the_queue_go_and_waiting_ones_stay(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    entry = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at) VALUES "
        "('q', 't', CAST(:status AS procrastinate_job_status), now() + interval '1 day') RETURNING id"
    )
    async with transaction(sessions) as session:
        made = {status: (await session.execute(text(entry), {"status": status})).scalar_one()
                for status in ("succeeded", "failed", "todo")}  # fmt: skip
        await session.execute(text("UPDATE procrastinate_events SET at = at - interval '8 days'"))
        made["new"] = (await session.execute(text(entry), {"status": "failed"})).scalar_one()
        await session.execute(
            text("INSERT INTO procrastinate_events (job_id, type) VALUES (:id, 'failed')"), {"id": made["new"]}
        )
    assert (await _run(worker_services))["queue_entries"] == 2
    async with transaction(sessions) as session:
        left = set(await session.scalars(text("SELECT id FROM procrastinate_jobs WHERE task_name = 't'")))
    assert left == {made["todo"], made["new"]}


async def test_studies_of_trainings_that_ended_are_forgotten_and_no_others(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    old, young = _job(15, kind="training.run"), _job(13, kind="training.run")
    running = _job(15, "queued", kind="training.run")
    await _add(sessions, old, young, running)
    storage = open_storage(worker_services.settings.database.url.get_secret_value())
    for name in (old.id, young.id, running.id, "somebody-elses"):
        optuna.create_study(study_name=name, storage=storage).optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    assert (await _run(worker_services))["studies"] == 1
    assert set(optuna.get_all_study_names(storage)) == {young.id, running.id, "somebody-elses"}


async def test_predictions_are_never_deleted(sessions: SessionFactory, worker_services: WorkerServices) -> None:
    moment = utc_now() - timedelta(days=3000)
    await add_predictions(sessions, [Predicted({"prediction": 1}, moment)])
    await _run(worker_services)
    async with transaction(sessions) as session:
        assert await session.scalar(text("SELECT count(*) FROM predictions")) == 1


async def test_its_schedule_fires_once_for_each_moment(sessions: SessionFactory) -> None:
    first = await fire(sessions, DAILY, 1_800_000_000)
    assert first is not None
    assert await fire(sessions, DAILY, 1_800_000_000) is None
    assert tasks.DAILY.cron == "13 3 * * *"
    async with transaction(sessions) as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 1
    assert RetentionSettings().jobs_days >= RetentionSettings().job_logs_days
