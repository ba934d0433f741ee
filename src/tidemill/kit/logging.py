"""JSON logs on stdout, one object a line, with the request id of whoever started the work."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_FIELDS = ("trace_id", "model", "version", "status", "duration_ms", "error_type", "method", "route",
           "job_id", "kind", "attempt", "deployment", "rows", "child", "reason", "printed")  # fmt: skip
"""Extra fields a record may carry. A closed list, so that no payload slips into a log."""
_ORDERS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON leaves as it is, though some take it for the end of a line, terminals for an order, or no stream writes it.
All of it stands within texts."""


def current_request_id() -> str | None:
    return _request_id.get()


@contextlib.contextmanager
def request_id_bound(request_id: str | None) -> Iterator[None]:
    """Every log line written inside carries ``request_id``."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str, environment: str) -> None:
        super().__init__()
        self._constant = {"service": service, "environment": environment}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **self._constant,
        }
        if (request_id := _request_id.get()) is not None:
            line["request_id"] = request_id
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info and record.exc_info[0] is not None:
            line["error_type"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        return _ORDERS.sub(_escaped, json.dumps(line, default=str, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def configure_logging(service: str, environment: str, level: str) -> None:
    """Send every log record of this process to stdout as JSON. Called once, by a process's main."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, environment))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "uvicorn.access", "procrastinate", "alembic.runtime"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
