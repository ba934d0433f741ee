"""Real worker processes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.jobs.kinds import Payload
from tests.ports import free_port
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.jobs import Job
from tidemill.jobs import service
from tidemill.jobs.definition import TaskDefinition
from tidemill.jobs.service import JobRequest
from tidemill.settings.model import DatabaseSettings

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 90


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_seconds: float = WAIT_SECONDS) -> Any:
    """What ``condition`` gives once it is true; fails the test when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if found := await condition():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {timeout_seconds} seconds: {condition}")


@dataclass(frozen=True)
class WorkerProcess:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient() as http:
                return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        return False

    async def metrics(self) -> str:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text


StartWorker = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment that lets worker processes share compiled modules, which halves the time they take to start."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}


@pytest.fixture
def workers(database: DatabaseSettings, tmp_path: Path, bytecode: dict[str, str]) -> Iterator[StartWorker]:
    """``await workers(max_attempts=2)`` starts a worker process and waits until it is ready."""
    started: list[WorkerProcess] = []

    async def start(*arguments: str, **settings: Any) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        port = free_port()
        quick = {
            "port": port, "heartbeat_seconds": 0.25, "stalled_after_seconds": 3, "termination_grace_seconds": 1,
            "retry_backoff_seconds": 0.1, "scratch_dir": tmp_path / "scratch",
        }  # fmt: skip
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")},
            **bytecode,
            "TIDEMILL_DATABASE__URL": database.url.get_secret_value(),
            "TIDEMILL_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
            **{f"TIDEMILL_WORKER__{name.upper()}": str(value) for name, value in (quick | settings).items()},
        }
        command = [sys.executable, "-m", "tests.integration.jobs.worker_process", *arguments]
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 - it outlives this coroutine
                command, env=environ, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT
            )
        worker = WorkerProcess(process, port, log)
        started.append(worker)
        await eventually(worker.ready)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.send(signal.SIGCONT)
            worker.process.kill()
        worker.process.wait()


@dataclass(frozen=True)
class JobDesk:
    """Enqueues and watches jobs."""

    sessions: SessionFactory

    async def submit(self, task: TaskDefinition[Any], payload: Payload | None = None, **request: Any) -> str:
        async with transaction(self.sessions) as session:
            job = await service.enqueue(session, task, payload or Payload(), JobRequest("key_test", **request))
            return job.id

    async def get(self, job_id: str) -> Job:
        async with transaction(self.sessions) as session:
            return await service.get(session, job_id)

    async def messages(self, job_id: str) -> list[str]:
        async with transaction(self.sessions) as session:
            return [line.message for line in (await service.logs(session, job_id)).items]

    async def reaches(self, job_id: str, status: str, timeout_seconds: float = WAIT_SECONDS) -> Job:
        async def reached() -> Job | None:
            job = await self.get(job_id)
            assert job.status == status or job.finished_at is None, (job.status, job.error)
            return job if job.status == status else None

        found = await eventually(reached, timeout_seconds)
        assert isinstance(found, Job)
        return found

    async def ticking(self, job_id: str, attempt: int = 1) -> Job:
        """The job once its child of this attempt has made progress."""

        async def ticks() -> Job | None:
            job = await self.get(job_id)
            return job if job.attempt == attempt and job.progress and job.progress["stage"] == "ticking" else None

        found = await eventually(ticks)
        assert isinstance(found, Job)
        return found


@pytest.fixture
def desk(sessions: SessionFactory) -> JobDesk:
    return JobDesk(sessions)
