"""How every HTTP process runs uvicorn."""

import contextlib
import signal
from collections.abc import Generator
from types import FrameType

import uvicorn
from fastapi import FastAPI

_GRACE_SECONDS = 20


class Server(uvicorn.Server):
    """Tells the application when it is asked to stop, so that streams without an end of their own can end.

    `run` returns after a stop in good order, so that the process ends with exit code 0. Runs in the main thread.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, which would then send itself the signal again: supervisors take that end for a failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.stopping = True
        super().handle_exit(sig, frame)


def server_config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """One process, our own access log, a bounded time for open requests when stopping."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
