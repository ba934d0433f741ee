"""What a running task may do; the implementation of `tidemill.jobs.definition.JobContext`."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import transaction
from tidemill.jobs import queries
from tidemill.jobs.compute import ComputeChild, ComputeOrder, Confinement, OnMessage
from tidemill.jobs.definition import OnEvent, Progress, WorkerServices
from tidemill.jobs.journal import RunJournal
from tidemill.jobs.messages import Message
from tidemill.jobs.run import Run, StaleRun
from tidemill.jobs.scratch import ScratchSpace
from tidemill.sandbox.confinement import Kernel
from tidemill.sandbox.policy import NOTHING, Reach
from tidemill.tracing.spans import child_span


class RunContext:
    def __init__(self, run: Run, services: WorkerServices, journal: RunJournal, scratch: ScratchSpace) -> None:
        self._run = run
        self._services = services
        self._journal = journal
        self._scratch = scratch

    @property
    def job_id(self) -> str:
        return self._run.assignment.job_id

    @property
    def attempt(self) -> int:
        return self._run.assignment.attempt

    @property
    def principal(self) -> str:
        return self._run.assignment.principal

    @property
    def request_id(self) -> str | None:
        return self._run.assignment.request_id

    @property
    def services(self) -> WorkerServices:
        return self._services

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        async with transaction(self._services.sessions) as session:
            await _end_if_frozen(session, self._services.settings.worker.stalled_after_seconds)
            if await queries.lock_run(session, self.job_id, self.attempt) is None:
                raise StaleRun
            yield session

    async def progress(self, progress: Progress) -> None:
        self._journal.progress(progress)

    async def log(self, level: str, message: str) -> None:
        self._journal.line(level, message)

    def scratch(self) -> AbstractAsyncContextManager[Path]:
        return self._scratch.directory()

    async def compute(
        self, entry: str, request: dict[str, Any], reach: Reach = NOTHING, on_event: OnEvent | None = None
    ) -> dict[str, Any]:
        async def on_message(message: Message) -> None:
            if message["type"] == "progress":
                self._journal.progress(Progress(**{key: value for key, value in message.items() if key != "type"}))
            elif message["type"] == "log":
                self._journal.line(message["level"], message["message"])
            elif on_event is not None:
                await on_event(message["fields"])

        with child_span(f"compute {entry}"):
            async with self._scratch.directory() as directory:
                order = ComputeOrder(entry, request, self.request_id, directory, reach)
                return await self._run_child(order, on_message)

    async def _run_child(self, order: ComputeOrder, on_message: OnMessage) -> dict[str, Any]:
        settings = self._services.settings
        confinement = Confinement(Kernel.probe(), settings.sandbox)
        return await ComputeChild(order, settings.worker, self._run.lease, on_message, confinement).run()


async def _end_if_frozen(session: AsyncSession, seconds: float) -> None:
    """Have PostgreSQL end this transaction if we fall silent in it, so that a frozen worker keeps no lock."""
    milliseconds = str(int(seconds * 1000))
    await session.execute(
        text("SELECT set_config('idle_in_transaction_session_timeout', :timeout, true)"), {"timeout": milliseconds}
    )
