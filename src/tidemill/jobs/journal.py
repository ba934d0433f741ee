"""What a run says about itself, gathered and written a few times a second, fenced like every other write."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tidemill.db.engine import SessionFactory, transaction
from tidemill.jobs import queries
from tidemill.jobs.definition import Progress
from tidemill.jobs.failures import explain
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Unavailable
from tidemill.kit.tasks import end_tasks

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.25
MAX_LINES = 10_000
MAX_LINE_CHARACTERS = 4_000
MAX_WORDS = 1_000
_LEVELS = frozenset({"debug", "info", "warning", "error"})


class RunJournal:
    """Progress and log lines of one attempt. Speaking only notes; a background task writes."""

    def __init__(self, sessions: SessionFactory, job_id: str, attempt: int, on_stale: Callable[[], None]) -> None:
        self._sessions = sessions
        self._job_id = job_id
        self._attempt = attempt
        self._on_stale = on_stale
        self._progress: dict[str, Any] | None = None
        self._lines: list[tuple[datetime, str, str]] = []
        self._room: int | None = None
        self._spoken = asyncio.Event()
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write_on(), name=f"journal of {self._job_id}")

    async def stop(self) -> None:
        """Write no more in the background; `drain` writes what is left."""
        async with self._writing:  # so that no write is cut off, and its words lost
            if self._writer is not None:
                await end_tasks(self._writer)

    async def drain(self) -> None:
        """Write what was said since the last time. Keeps it, and raises, while the database is away."""
        progress, lines = self._progress, self._lines
        if progress is None and not lines:
            return
        self._progress, self._lines = None, []
        try:
            await self._write(progress, lines)
        except Exception as raised:
            if isinstance(explain(raised), Unavailable):
                self._take_back(progress, lines)
                raise
            # A job does not fail because its words cannot be stored.
            log.error("Words of a job are lost", extra={"error_type": type(raised).__name__})  # noqa: TRY400

    def progress(self, progress: Progress) -> None:
        stage, message = progress.stage.replace("\x00", ""), progress.message.replace("\x00", "")
        self._progress = asdict(progress) | {"stage": stage[:MAX_WORDS], "message": message[:MAX_WORDS]}
        self._spoken.set()

    def line(self, level: str, message: str) -> None:
        """Note one line. Past the limit of a job's lines, the rest is dropped, and a last line says so."""
        if len(self._lines) < MAX_LINES:
            text = message.replace("\x00", "")[:MAX_LINE_CHARACTERS]
            self._lines.append((utc_now(), level if level in _LEVELS else "info", text))
        self._spoken.set()

    async def _write_on(self) -> None:
        while True:
            await self._spoken.wait()
            self._spoken.clear()
            with contextlib.suppress(Exception):  # kept for the next time
                async with self._writing:
                    await self.drain()
            await asyncio.sleep(INTERVAL_SECONDS)

    def _take_back(self, progress: dict[str, Any] | None, lines: list[tuple[datetime, str, str]]) -> None:
        self._progress = self._progress or progress
        self._lines = (lines + self._lines)[:MAX_LINES]
        self._spoken.set()

    async def _write(self, progress: dict[str, Any] | None, lines: list[tuple[datetime, str, str]]) -> None:
        async with transaction(self._sessions) as session:
            if self._room is None:
                self._room = MAX_LINES - await queries.count_logs(session, self._job_id)
            kept = lines[: max(0, self._room)]
            if len(kept) < len(lines) and self._room > 0:
                kept[-1] = (kept[-1][0], "warning", f"Further lines are not kept; the limit is {MAX_LINES}.")
            journal = queries.Journal(progress, kept)
            stored = await queries.write_journal(session, self._job_id, self._attempt, journal)
        self._room -= len(kept)
        if not stored:
            self._on_stale()
