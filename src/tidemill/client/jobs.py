"""Jobs: look, wait, follow, cancel."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.kit.errors import DeadlineExceeded, TidemillError, Unavailable, from_record
from tidemill.schemas.jobs import FINAL_STATES, Job, JobEvent, JobLogLine, JobLogs, JobProgress, JobState

_SILENCE_TIMEOUT_SECONDS = 30
"""The server says something every ten seconds, if only that it is there."""
_PATIENCE_SECONDS = 60
_RECONNECT_SECONDS = 0.5
_LINES_PER_REQUEST = 1000

OnEvent = Callable[[JobEvent], None]


class Jobs:
    """``tidemill.jobs``: every piece of long work, such as an upload or a training."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises NotFound."""
        return Job.model_validate(self._transport.request("GET", f"/api/v1/jobs/{segment(job_id)}"))

    def list(
        self, status: JobState | None = None, kind: str | None = None, subject: str | None = None
    ) -> Iterator[Job]:
        """Jobs, newest first, page by page."""
        params = {"status": status, "kind": kind, "subject": subject}
        return iterate(self._transport, "/api/v1/jobs", Job, params)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job, ask a running one to end. Raises NotFound, or Conflict if it has ended already."""
        return Job.model_validate(self._transport.request("POST", f"/api/v1/jobs/{segment(job_id)}:cancel"))

    def logs(self, job_id: str, after: int = 0) -> Iterator[JobLogLine]:
        """The lines written so far, oldest first, from after the line ``after``."""
        while True:
            params = {"after": after, "limit": _LINES_PER_REQUEST}
            path = f"/api/v1/jobs/{segment(job_id)}/logs"
            page = JobLogs.model_validate(self._transport.request("GET", path, params=params))
            yield from page.items
            if not (len(page.items) == _LINES_PER_REQUEST if page.more is None else page.more):
                return
            after = page.next_after

    def events(self, job_id: str, after: int = 0, timeout_seconds: float | None = None) -> Iterator[JobEvent]:
        """What happens to the job, until it has ended; the last event is its final state.

        Goes on where it was when the connection breaks, for up to a minute without the server. Log lines begin after
        the line ``after``. Raises NotFound, Unavailable, and DeadlineExceeded after ``timeout_seconds``.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        heard = time.monotonic()
        while True:
            try:
                for event in self._connect(job_id, after, deadline):
                    heard = time.monotonic()
                    if event is None:
                        continue
                    after = event.line.seq if event.line else after
                    yield event
                    if event.state is not None and event.state.status in FINAL_STATES:
                        return
            except Unavailable as error:
                _check(deadline)
                if time.monotonic() - heard > _PATIENCE_SECONDS:
                    raise error from None
            time.sleep(_RECONNECT_SECONDS)

    def wait(self, job_id: str, timeout_seconds: float | None = None, on_event: OnEvent | None = None) -> Job:
        """The job once it has ended, however it ended. Raises DeadlineExceeded; the job goes on then."""
        for event in self.events(job_id, timeout_seconds=timeout_seconds):
            if on_event is not None:
                on_event(event)
            if event.state is not None and event.state.status in FINAL_STATES:
                return event.state
        raise AssertionError("unreachable")

    def result(self, job_id: str, timeout_seconds: float | None = None, on_event: OnEvent | None = None) -> Any:
        """The job's result once it has succeeded. Raises the job's own error if it failed."""
        return result_of(self.wait(job_id, timeout_seconds, on_event))

    def _connect(self, job_id: str, after: int, deadline: float | None) -> Iterator[JobEvent | None]:
        left = _SILENCE_TIMEOUT_SECONDS if deadline is None else deadline - time.monotonic()
        with self._transport.stream(
            "GET",
            f"/api/v1/jobs/{segment(job_id)}/events",
            headers={"Last-Event-ID": str(after)},
            read_timeout_seconds=max(0.1, min(left, _SILENCE_TIMEOUT_SECONDS)),
        ) as response:
            for event in _parse(response):
                _check(deadline)
                yield event


def result_of(job: Job) -> dict[str, Any]:
    """The result of a job that has ended well; raises the error of one that has not."""
    if job.status == "succeeded":
        return job.result or {}
    if job.error is not None:
        raise from_record(job.error.model_dump())
    raise TidemillError("job_cancelled", "The job was cancelled.")


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise DeadlineExceeded("job_wait_timeout", "The job has not ended within the time; it goes on.")


def _parse(response: httpx.Response) -> Iterator[JobEvent | None]:
    """Events of a stream; None for a sign of life."""
    name, data = "", ""
    for line in response.iter_lines():
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data += value.strip()
        elif not line and data:
            yield _event(name, json.loads(data))
            name, data = "", ""
        elif not field:
            yield None


def _event(name: str, data: Any) -> JobEvent | None:
    match name:
        case "state":
            return JobEvent(state=Job.model_validate(data))
        case "progress":
            return JobEvent(progress=JobProgress.model_validate(data))
        case "log":
            return JobEvent(line=JobLogLine.model_validate(data))
    return None
