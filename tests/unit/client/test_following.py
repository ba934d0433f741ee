"""Following a job over a connection that breaks, against a real server on loopback."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.unit.client.loopback import QuietHandler, transport_to
from tidemill.client import jobs
from tidemill.client.transport import Transport

PATIENCE_SECONDS = 1.0
JOB = {
    "id": "job_1", "kind": "test.effect", "queue": "default", "priority": 0, "status": "succeeded", "attempt": 1,
    "max_attempts": None, "timeout_seconds": 60, "subject": None, "principal": "key_1", "request_id": None,
    "progress": None, "result": {}, "error": None, "cancel_requested_at": None, "run_at": None,
    "created_at": "2026-01-01T00:00:00Z", "started_at": None, "finished_at": None,
}  # fmt: skip


@pytest.fixture
def transport() -> Iterator[Transport]:
    """The first stream is silent but for signs of life, longer than clients are patient, and then breaks off."""
    asked: list[str] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", "100000")
            self.end_headers()
            if len(asked) > 1:
                self.wfile.write(f"event: state\ndata: {json.dumps(JOB)}\n\n".encode())
                return
            ends = time.monotonic() + 2 * PATIENCE_SECONDS
            while time.monotonic() < ends:
                self.wfile.write(b": keep-alive\n\n")
                self.wfile.flush()
                threading.Event().wait(PATIENCE_SECONDS / 30)

    with transport_to(Handler) as transport:
        yield transport


def test_a_quiet_job_is_followed_over_a_broken_connection(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
    assert jobs.Jobs(transport).wait("job_1").status == "succeeded"
