"""How every HTTP process runs uvicorn."""

from types import FrameType

import uvicorn
from fastapi import FastAPI

_GRACE_SECONDS = 20


class Server(uvicorn.Server):
    """Tells the application when it is asked to stop, so that streams without an end of their own can end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
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
