"""Jobs from enqueue to end, with the real runner in this process."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.integration.jobs.kinds import BUG, COMPUTE, EFFECT, SLEEP, TASKS, Payload
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job, JobLog
from tidemill.jobs import queries, service
from tidemill.jobs.definition import Progress, TaskDefinition, WorkerServices
from tidemill.jobs.engine import run_pending
from tidemill.jobs.journal import MAX_LINES, RunJournal
from tidemill.jobs.service import JobRequest
from tidemill.kit.errors import Conflict, Invalid
from tidemill.settings.model import Settings, WorkerSettings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(
        update={"retry_backoff_seconds": 0.05, "max_retries": 3, "termination_grace_seconds": 1}
    )
    return settings.model_copy(update={"worker": WorkerSettings.model_validate(worker.model_dump())})


def with_worker(services: WorkerServices, **changes: Any) -> WorkerServices:
    worker = services.settings.worker.model_copy(update=changes)
    return replace(services, settings=services.settings.model_copy(update={"worker": worker}))


async def submit(
    sessions: SessionFactory, task: TaskDefinition[Any], payload: Payload | None = None, **request: Any
) -> str:
    async with transaction(sessions) as session:
        job = await service.enqueue(session, task, payload or Payload(), JobRequest("key_test", **request))
        return job.id


async def job_of(sessions: SessionFactory, job_id: str) -> Job:
    async with transaction(sessions) as session:
        return await service.get(session, job_id)


async def messages(sessions: SessionFactory, job_id: str) -> list[str]:
    async with transaction(sessions) as session:
        return [line.message for line in (await service.logs(session, job_id)).items]


async def test_a_job_runs_and_its_effect_result_and_request_id_are_kept(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, EFFECT, request_id="request-1234")
    await run_pending(worker_services, TASKS)
    job = await job_of(sessions, job_id)
    assert (job.status, job.attempt, job.error) == ("succeeded", 1, None)
    assert job.result == {"attempt": 1, "request_id": "request-1234"}
    assert job.progress is not None
    assert job.progress["stage"] == "writing"
    async with transaction(sessions) as session:
        assert (await session.scalar(text("SELECT count(*) FROM procrastinate_jobs"))) == 0


async def test_a_rolled_back_transaction_leaves_no_job(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    async def enqueue_and_fail() -> None:
        async with transaction(sessions) as session:
            await service.enqueue(session, EFFECT, Payload(), JobRequest("key_test"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await enqueue_and_fail()
    async with transaction(sessions) as session:
        assert (await session.scalar(text("SELECT count(*) FROM procrastinate_jobs"))) == 0
        assert (await session.scalar(text("SELECT count(*) FROM jobs"))) == 0


async def test_the_same_idempotency_key_gives_the_same_job_and_refuses_another_payload(
    sessions: SessionFactory,
) -> None:
    first = await submit(sessions, EFFECT, idempotency_key="key-1")
    assert await submit(sessions, EFFECT, idempotency_key="key-1") == first
    with pytest.raises(Invalid) as refused:
        await submit(sessions, EFFECT, Payload(value=2), idempotency_key="key-1")
    assert refused.value.code == "idempotency_key_reused"


async def test_a_child_computes_and_its_words_reach_progress_log_and_events(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, COMPUTE, Payload(entry="double", value=21))
    await run_pending(worker_services, TASKS)
    job = await job_of(sessions, job_id)
    assert job.status == "succeeded", job.error
    assert job.result is not None
    assert job.result["value"] == 42
    assert job.result["threads"] == str(worker_services.settings.worker.cpu_threads)
    assert job.result["events"] == [{"step": 1}]
    assert job.progress == {
        "stage": "doubling", "done": 2, "total": 2, "message": "", "best": None, "metric": None,
    }  # fmt: skip
    assert set(await messages(sessions, job_id)) == {"a stray print", "half way"}
    assert worker_services.settings.worker.scratch_dir is not None
    assert list(worker_services.settings.worker.scratch_dir.iterdir()) == []


async def test_an_error_of_the_domain_crosses_from_the_child(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, COMPUTE, Payload(entry="refuse"))
    await run_pending(worker_services, TASKS)
    job = await job_of(sessions, job_id)
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error is not None
    assert (job.error["kind"], job.error["code"]) == ("Invalid", "column_missing")


@pytest.mark.parametrize(
    ("task", "payload"), [(COMPUTE, Payload(entry="crash", file="a secret")), (BUG, Payload(file="a secret"))]
)
async def test_an_unexpected_exception_is_told_by_type_and_place_but_not_by_its_message(
    sessions: SessionFactory, worker_services: WorkerServices, task: TaskDefinition[Any], payload: Payload
) -> None:
    job_id = await submit(sessions, task, payload)
    await run_pending(worker_services, TASKS)
    job = await job_of(sessions, job_id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "internal")
    written = "\n".join([*await messages(sessions, job_id), str(job.error)])
    assert "a secret" not in written
    assert "line " in written
    assert ("ValueError" in written) != ("KeyError" in written)


async def test_a_passing_failure_is_tried_again_and_the_effect_happens_once(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, EFFECT, Payload(failures=2))
    await run_pending(worker_services, TASKS)
    job = await job_of(sessions, job_id)
    assert (job.status, job.attempt) == ("succeeded", 3)
    async with transaction(sessions) as session:
        assert (await session.scalar(text("SELECT count(*) FROM effects"))) == 1


async def test_a_failure_that_does_not_pass_ends_the_job_after_its_attempts(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, EFFECT, Payload(failures=9))
    dead = await submit(sessions, COMPUTE, Payload(entry="die"), max_attempts=2)
    await run_pending(worker_services, TASKS)
    job, killed = await job_of(sessions, job_id), await job_of(sessions, dead)
    assert (job.status, job.attempt) == ("failed", 4)
    assert job.error is not None
    assert job.error["code"] == "mlflow_unavailable"
    assert (killed.status, killed.attempt) == ("failed", 2)
    assert killed.error is not None
    assert killed.error["code"] == "compute_died"


async def test_a_job_past_its_time_limit_fails_and_is_not_repeated(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    waiting = await submit(sessions, SLEEP, Payload(value=60), timeout_seconds=0.2)
    computing = await submit(sessions, COMPUTE, Payload(entry="tick", file="/dev/null"), timeout_seconds=1)
    await run_pending(worker_services, TASKS)
    for job_id in (waiting, computing):
        job = await job_of(sessions, job_id)
        assert job.error is not None
        assert (job.status, job.attempt, job.error["code"]) == ("failed", 1, "job_timeout")


async def test_a_child_above_the_memory_limit_is_ended(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    services = with_worker(worker_services, memory_limit_bytes=300 << 20)
    job_id = await submit(sessions, COMPUTE, Payload(entry="eat_memory"))
    await run_pending(services, TASKS)
    job = await job_of(sessions, job_id)
    assert job.error is not None
    assert (job.status, job.error["kind"], job.error["code"]) == ("failed", "Invalid", "memory_limit_exceeded")


async def test_a_waiting_job_is_cancelled_at_once_and_a_second_time_is_a_conflict(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, EFFECT)
    async with transaction(sessions) as session:
        assert (await service.cancel(session, job_id)).status == "cancelled"
    async with transaction(sessions) as session:
        with pytest.raises(Conflict) as refused:
            await service.cancel(session, job_id)
    assert refused.value.code == "job_cancelled"
    await run_pending(worker_services, TASKS)
    assert (await job_of(sessions, job_id)).attempt == 0


async def test_a_job_of_an_unknown_kind_waits_for_a_worker_that_knows_it(
    sessions: SessionFactory, worker_services: WorkerServices
) -> None:
    job_id = await submit(sessions, EFFECT)
    await run_pending(with_worker(worker_services, retry_backoff_seconds=2), (SLEEP,), timeout_seconds=0.5)
    job = await job_of(sessions, job_id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("queued", "job_kind_unknown")
    await run_pending(worker_services, TASKS)
    assert (await job_of(sessions, job_id)).status == "succeeded"


async def test_log_lines_past_the_limit_are_dropped_and_the_last_one_says_so(sessions: SessionFactory) -> None:
    job_id = await submit(sessions, EFFECT)
    async with transaction(sessions) as session:
        queued = await service.get(session, job_id)
        assert queued.engine_job_id is not None
        await queries.start(session, job_id, queued.engine_job_id)
    journal = RunJournal(sessions, job_id, 1, on_stale=lambda: None)
    for part in range(3):
        for number in range(MAX_LINES // 2 + 1):
            journal.line("info", f"part {part} line {number}\x00")
        await journal.drain()
    async with transaction(sessions) as session:
        assert await queries.count_logs(session, job_id) == MAX_LINES
        newest = select(JobLog.level, JobLog.message).order_by(JobLog.seq.desc()).limit(1)
        level, message = (await session.execute(newest)).one()
    assert (level, "not kept" in message) == ("warning", True)


async def test_an_overtaken_run_stores_no_words_and_hears_of_it(sessions: SessionFactory) -> None:
    job_id = await submit(sessions, EFFECT)
    heard: list[bool] = []
    journal = RunJournal(sessions, job_id, 7, on_stale=lambda: heard.append(True))
    journal.line("info", "too late")
    journal.progress(Progress("too late"))
    await journal.drain()
    assert heard == [True]
    assert await messages(sessions, job_id) == []
    assert (await job_of(sessions, job_id)).progress is None


async def test_higher_priority_runs_first(sessions: SessionFactory, worker_services: WorkerServices) -> None:
    services = with_worker(worker_services, concurrency=1)
    low, high = await submit(sessions, EFFECT), await submit(sessions, EFFECT, priority=5)
    await run_pending(services, TASKS)
    first, second = await job_of(sessions, high), await job_of(sessions, low)
    assert first.finished_at is not None
    assert second.started_at is not None
    assert first.finished_at <= second.started_at
