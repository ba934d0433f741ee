"""The computing child: `python -m tidemill.sandbox.launch ... tidemill.jobs.child FD`.

It is confined before this module is imported (`tidemill.sandbox`), and the kernel ends it with its worker. It talks to
that worker by JSON lines over one socket. The worker sends the request, then the end of the run's lease whenever it
was renewed; the child answers with ``progress``, ``log`` and ``event`` lines and one ``result`` or ``error``. What it
prints goes to the job's log. When the worker is gone, or the lease ran out, the child ends itself: a run that was
overtaken must not go on writing.
"""

import faulthandler
import importlib
import json
import logging
import math
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from tidemill.jobs.failures import explain, where
from tidemill.jobs.lease import lease_clock
from tidemill.kit.errors import Unavailable, to_record
from tidemill.kit.logging import request_id_bound

_CLOSING_TIMEOUT_SECONDS = 30
_LEASE_POLL_SECONDS = 0.2


class Channel:
    """The socket to the worker. Sending only queues: a frozen worker does not hold up the computation."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_on, name="sender", daemon=True)
        self._sender.start()

    def send(self, **message: Any) -> None:
        """Queue one line. Raises ValueError or TypeError for what is not JSON."""
        text = json.dumps(message, allow_nan=False, separators=(",", ":"), default=_plain)
        self._outbox.put(text.encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next line, None when the worker has closed its end."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Wait until everything queued is sent."""
        self._outbox.put(None)
        self._sender.join(_CLOSING_TIMEOUT_SECONDS)

    def _send_on(self) -> None:
        while (line := self._outbox.get()) is not None:
            try:
                self._socket.sendall(line)
            except OSError:
                return  # the receiving thread notices the same and ends this process


class ChildReporter:
    """What a compute function may tell its worker; see `tidemill.kit.reporter`."""

    def __init__(self, channel: Channel, order: dict[str, Any]) -> None:
        self._channel = channel
        self._lease_ends = float(order["lease_ends"])
        self._scratch = Path(order["scratch"])
        self._cpu_threads = int(order["cpu_threads"])
        self._memory_limit_bytes = int(order["memory_limit_bytes"])

    @property
    def scratch(self) -> Path:
        return self._scratch

    @property
    def cpu_threads(self) -> int:
        return self._cpu_threads

    @property
    def memory_limit_bytes(self) -> int:
        return self._memory_limit_bytes

    def progress(
        self, stage: str, done: float = 0, total: float | None = None, message: str = "",
        best: float | None = None, metric: str | None = None,
    ) -> None:  # fmt: skip
        best = best if best is not None and math.isfinite(best) else None
        self._channel.send(
            type="progress", stage=stage, done=done, total=total, message=message, best=best, metric=metric
        )

    def log(self, level: str, message: str) -> None:
        self._channel.send(type="log", level=level, message=message)

    def event(self, **fields: Any) -> None:
        self._channel.send(type="event", fields=fields)

    def check(self) -> None:
        if lease_clock() >= self._lease_ends:
            raise Unavailable("lease_expired", "The worker lost its hold of the job.")

    def follow_lease(self) -> None:
        """Keep up with the worker in the background, and end with it."""
        threading.Thread(target=self._receive_leases, name="lease receiver", daemon=True).start()
        threading.Thread(target=self._enforce_lease, name="lease watch", daemon=True).start()

    def _receive_leases(self) -> None:
        while (message := self._channel.receive()) is not None:
            self._lease_ends = float(message["lease_ends"])
        _end_everything()

    def _enforce_lease(self) -> None:
        while True:
            time.sleep(_LEASE_POLL_SECONDS)
            if lease_clock() >= self._lease_ends:
                _end_everything()


class _LogForwarder(logging.Handler):
    def __init__(self, reporter: ChildReporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.log(record.levelname.lower(), f"{record.name}: {record.getMessage()}")


def main() -> None:
    descriptor = int(sys.argv[1])
    faulthandler.enable()
    channel = Channel(descriptor)
    order = channel.receive()
    if order is None:
        sys.exit(1)
    reporter = ChildReporter(channel, order)
    reporter.follow_lease()
    logging.basicConfig(handlers=[_LogForwarder(reporter)], level=logging.WARNING, force=True)
    with request_id_bound(order["request_id"]):
        _answer(channel, reporter, order)
    channel.close()
    sys.stdout.flush()
    # Threads and at-exit hooks of libraries have nothing left to do, and some of them hang.
    os._exit(0)


def _answer(channel: Channel, reporter: ChildReporter, order: dict[str, Any]) -> None:
    try:
        module, _, name = str(order["entry"]).partition(":")
        function = getattr(importlib.import_module(module), name)
        channel.send(type="result", result=function(order["request"], reporter))
    except BaseException as raised:  # noqa: BLE001 - whatever ends the function, the worker is told
        error = explain(raised)
        if error.code == "internal":
            reporter.log("error", where(raised))
        channel.send(type="error", error=to_record(error))


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _end_everything() -> None:
    """Kill this process and all that it started; it is the leader of its own session."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001 - the last words of a child whose channel failed
        traceback.print_exc()
        os._exit(1)
