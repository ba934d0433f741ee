"""A job's events, found by looking a few times a second; no connection is held between two looks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from tidemill.db.engine import SessionFactory, transaction
from tidemill.jobs import service
from tidemill.jobs.failures import explain
from tidemill.jobs.states import FINAL
from tidemill.kit.errors import NotFound, Unavailable
from tidemill.schemas.jobs import Job, JobLogLine

POLL_SECONDS = 0.25
QUIET_POLL_SECONDS = 1.0
"""While nothing has happened for a while."""
_QUIET_AFTER_SECONDS = 5
KEEP_ALIVE_SECONDS = 10
LONGEST_STREAM_SECONDS = 3600
"""Then the stream ends, and the client comes back where it was."""
_LINES_PER_LOOK = 500
_CLIENT_RETRY_MILLISECONDS = 1000


async def stream_events(
    sessions: SessionFactory,
    job_id: str,
    after_seq: int,
    may_go_on: Callable[[], Awaitable[bool]],
) -> AsyncIterator[str]:
    """Server-sent events of the job from the log line after ``after_seq`` on.

    Ends when the job has ended, and early once ``may_go_on``, asked before every look, says no: clients come back.
    """
    watch = _Watch(after_seq)
    ends = time.monotonic() + LONGEST_STREAM_SECONDS
    happened = spoken = time.monotonic()
    yield f"retry: {_CLIENT_RETRY_MILLISECONDS}\n\n"
    while time.monotonic() < ends and await may_go_on():
        events = await watch.look(sessions, job_id)
        if events:
            yield "".join(events)
            happened = spoken = time.monotonic()
        if watch.over:
            return
        if time.monotonic() - spoken > KEEP_ALIVE_SECONDS:
            yield ": keep-alive\n\n"
            spoken = time.monotonic()
        if not watch.behind:
            quiet = time.monotonic() - happened > _QUIET_AFTER_SECONDS
            await asyncio.sleep(QUIET_POLL_SECONDS if quiet else POLL_SECONDS)


class _Watch:
    """What one client has seen."""

    def __init__(self, after_seq: int) -> None:
        self._seq = after_seq
        self._state: tuple[Any, ...] | None = None
        self._progress: Any = None
        self.behind = False
        """More log lines are waiting than fit one look."""
        self.over = False

    async def look(self, sessions: SessionFactory, job_id: str) -> list[str]:
        try:
            async with transaction(sessions) as session:
                row = await service.get(session, job_id)
                job = Job.model_validate(row)
                found = await service.logs(session, job_id, self._seq, _LINES_PER_LOOK)
                lines = [JobLogLine.model_validate(line) for line in found.items]
        except NotFound:
            self.over = True
            return []
        except Exception as raised:
            if isinstance(explain(raised), Unavailable):
                return []  # the next look may find the database back
            raise
        self.behind = found.more
        return [*self._lines(lines), *self._changes(job)]

    def _lines(self, lines: list[JobLogLine]) -> list[str]:
        if lines:
            self._seq = lines[-1].seq
        return [_event("log", line, line.seq) for line in lines]

    def _changes(self, job: Job) -> list[str]:
        events = []
        if job.progress is not None and job.progress != self._progress:
            self._progress = job.progress
            events.append(_event("progress", job.progress))
        state = (job.status, job.attempt, job.cancel_requested_at)
        self.over = job.status in FINAL and not self.behind
        # The last state is the last event: after it the stream ends.
        if state != self._state and (self.over or job.status not in FINAL):
            self._state = state
            events.append(_event("state", job))
        return events


def _event(name: str, data: BaseModel, identifier: int | None = None) -> str:
    head = f"id: {identifier}\n" if identifier is not None else ""
    # Dumped to one line: a line break in the data would end the field.
    return f"{head}event: {name}\ndata: {json.dumps(data.model_dump(mode='json'), ensure_ascii=False)}\n\n"
