"""Real worker processes: killed, frozen, stopped, crowded, and without their database."""

import asyncio
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.integration.jobs.conftest import JobDesk, StartWorker, WorkerProcess, eventually
from tests.integration.jobs.kinds import COMPUTE, EFFECT, LONG, SLEEP, Payload
from tidemill.db.engine import transaction
from tidemill.jobs import service
from tidemill.kit.errors import Conflict
from tidemill.sandbox.confinement import Kernel


def ticks_of(file: Path) -> list[tuple[int, float]]:
    """(process, time) of each line that children wrote."""
    return [(int(line.split()[0]), float(line.split()[2])) for line in file.read_text().splitlines()]


def holder_first(one: WorkerProcess, two: WorkerProcess) -> tuple[WorkerProcess, WorkerProcess]:
    """The worker that runs the job, which has a child, and the other one."""
    return (one, two) if psutil.Process(one.process.pid).children() else (two, one)


async def all_gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


async def test_a_killed_workers_job_is_taken_over_and_finished_once(
    workers: StartWorker, desk: JobDesk, tmp_path: Path
) -> None:
    pair = await asyncio.gather(workers(), workers())
    file = tmp_path / "ticks"
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(file), ticks=30))
    await desk.ticking(job_id)
    first, second = holder_first(*pair)
    family = {child.pid for child in psutil.Process(first.process.pid).children()}
    first.send(signal.SIGKILL)
    killed_at = time.time()
    job = await desk.reaches(job_id, "succeeded")
    assert job.attempt == 2
    assert job.started_at is not None
    assert job.started_at.timestamp() - killed_at < 30
    ticks = ticks_of(file)
    before, after = ticks[0][0], ticks[-1][0]
    assert before != after
    assert max(at for pid, at in ticks if pid == before) < min(at for pid, at in ticks if pid == after)
    assert any("lost its worker" in message for message in await desk.messages(job_id))
    assert "tidemill_jobs_taken_over_total 1.0" in await second.metrics()
    await eventually(lambda: all_gone(family))


async def test_a_frozen_worker_and_its_child_write_nothing_once_another_has_the_job(
    workers: StartWorker, desk: JobDesk, tmp_path: Path
) -> None:
    pair = await asyncio.gather(workers(), workers())
    file = tmp_path / "ticks"
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(file), ticks=50))
    await desk.ticking(job_id)
    frozen, other = holder_first(*pair)
    frozen.send(signal.SIGSTOP)
    started = await desk.ticking(job_id, attempt=2)
    frozen.send(signal.SIGCONT)
    job = await desk.reaches(job_id, "succeeded")
    assert job.attempt == 2
    assert started.started_at is not None
    ticks = ticks_of(file)
    stale = ticks[0][0]
    assert max(at for pid, at in ticks if pid == stale) < started.started_at.timestamp()
    assert len([pid for pid, _ in ticks if pid != stale]) == 50

    async def said_overtaken() -> bool:
        return any(line.get("status") == "overtaken" for line in frozen.lines())

    await eventually(said_overtaken)
    assert (await desk.get(job_id)).finished_at == job.finished_at
    assert other.process.poll() is None
    # The frozen one is of use again.
    other.send(signal.SIGTERM)
    await asyncio.to_thread(other.process.wait, 60)
    await desk.reaches(await desk.submit(EFFECT), "succeeded")


async def test_a_job_that_loses_its_worker_too_often_fails(workers: StartWorker, desk: JobDesk) -> None:
    job_id = await desk.submit(SLEEP, Payload(value=60))
    worker = await workers(max_attempts=1)
    await desk.reaches(job_id, "running")
    worker.send(signal.SIGKILL)
    await workers(max_attempts=1)
    job = await desk.reaches(job_id, "failed")
    assert job.error is not None
    assert (job.error["code"], job.attempt) == ("worker_lost", 1)


async def test_a_stopped_worker_gives_its_job_back_at_once_and_without_loss_of_an_attempt(
    workers: StartWorker, desk: JobDesk, tmp_path: Path
) -> None:
    worker = await workers()
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(tmp_path / "ticks"), ticks=20), max_attempts=1)
    await desk.ticking(job_id)
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.process.wait, 40) == 0, "long before its jobs end or their time is over"
    job = await desk.get(job_id)
    assert (job.status, job.attempt, job.graceful_returns) == ("queued", 1, 1)
    await workers()
    assert (await desk.reaches(job_id, "succeeded")).attempt == 2


async def test_a_running_job_is_cancelled_with_everything_its_child_started(
    workers: StartWorker, desk: JobDesk, tmp_path: Path
) -> None:
    worker = await workers()
    file = tmp_path / "ticks"
    job_id = await desk.submit(COMPUTE, Payload(entry="tick", file=str(file)))
    await desk.ticking(job_id)
    family = {child.pid for child in psutil.Process(worker.process.pid).children(recursive=True)}
    # The sandbox refused it the second process that it asked for; without one it is ended as well.
    assert len(family) == (1 if Kernel.probe().level == "full" else 2)
    async with transaction(desk.sessions) as session:
        job = await service.cancel(session, job_id)
        assert (job.status, job.cancel_requested_at is not None) == ("running", True)
    async with transaction(desk.sessions) as session:
        with pytest.raises(Conflict) as refused:
            await service.cancel(session, job_id)
    assert refused.value.code == "job_cancel_requested"
    await desk.reaches(job_id, "cancelled")
    await eventually(lambda: all_gone(family))


async def test_a_schedule_fires_once_however_many_workers_there_are(workers: StartWorker, desk: JobDesk) -> None:
    every_second = "* * * * * *"
    await asyncio.gather(workers(every_second), workers(every_second))

    async def fired() -> bool:
        async with transaction(desk.sessions) as session:
            return (await session.scalar(text("SELECT count(*) FROM jobs WHERE status = 'succeeded'"))) >= 3

    await eventually(fired)
    async with transaction(desk.sessions) as session:
        keys = list(await session.scalars(text("SELECT idempotency_key FROM jobs")))
    assert len(keys) == len(set(keys))
    assert all(key.startswith("schedule:often/") for key in keys)


async def test_a_worker_takes_only_jobs_of_its_queues(workers: StartWorker, desk: JobDesk) -> None:
    await workers(queues="other,more")
    left = await desk.submit(EFFECT)
    taken = await desk.submit(replace(EFFECT, queue="other"))
    await desk.reaches(taken, "succeeded")
    assert (await desk.get(left)).status == "queued"


async def test_long_jobs_that_fill_a_worker_leave_a_slot_for_short_ones(workers: StartWorker, desk: JobDesk) -> None:
    worker = await workers(concurrency=2)
    first, second, third = [await desk.submit(LONG, Payload(value=50)) for _ in range(3)]
    await desk.reaches(first, "running")
    await desk.reaches(second, "running")
    short = await desk.reaches(await desk.submit(EFFECT), "succeeded")
    assert [(await desk.get(job_id)).status for job_id in (first, second, third)] == ["running", "running", "queued"]
    assert short.started_at is not None
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.process.wait, 40) == 0, "long before its jobs end or their time is over"
    assert {(await desk.get(job_id)).status for job_id in (first, second, third)} == {"queued"}


async def test_a_worker_without_slots_for_short_jobs_runs_them_in_turn(workers: StartWorker, desk: JobDesk) -> None:
    await workers(concurrency=1, short_concurrency=0)
    long = await desk.submit(LONG, Payload(value=1))
    await desk.reaches(long, "running")
    short = await desk.reaches(await desk.submit(EFFECT), "succeeded")
    ended = (await desk.get(long)).finished_at
    assert short.started_at is not None
    assert ended is not None
    assert short.started_at >= ended


async def test_an_enqueued_job_starts_within_a_moment_and_logs_carry_its_request_id(
    workers: StartWorker, desk: JobDesk
) -> None:
    worker = await workers()
    job_id = await desk.submit(EFFECT, request_id="request-5678")
    job = await desk.reaches(job_id, "succeeded")
    assert job.started_at is not None
    assert (job.started_at - job.created_at).total_seconds() < 0.5
    lines = [line for line in worker.lines() if line.get("job_id") == job_id]
    assert {line["request_id"] for line in lines} == {"request-5678"}
    assert [line["msg"] for line in lines] == ["Job started", "Job ended"]
    assert 'tidemill_jobs_finished_total{kind="test.effect",outcome="succeeded"} 1.0' in await worker.metrics()
