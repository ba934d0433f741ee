"""How every HTTP process runs uvicorn, and how it stops without losing a request."""

import asyncio
import contextlib
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from tidemill.settings.model import HttpSettings
from tidemill.web.connections import BoundedProtocol, ConnectionLimits, Connections

_GRACE_SECONDS = 20
_LOOK_SECONDS = 0.05
_OTHER_FILES = 128
_BACKLOG = 256
"""Connections that wait to be accepted."""
_ACCEPTED_AT_ONCE = 64
"""Before the others have their turn; fewer than `_OTHER_FILES`, since each is a file before it can be refused."""


class Server(uvicorn.Server):
    """Stops in an order that no request is lost in, given a proxy that keeps idle connections for a shorter time.

    Asked to stop, it tells the application (streams without an end of their own can end), accepts no more connections,
    and for at most ``drain_seconds`` goes on answering on those that are open: each answer says that it is the last,
    and idle ones are the client's to close. Closing them here could meet a request that is on its way.

    `run` returns after a stop in good order, so that the process ends with exit code 0.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float = 0) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._listeners: list[socket.socket] = []
        self._arriving: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, which would then send itself the signal again: supervisors take that end for a failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            return  # which accepts many at once by itself
        for listener in _copies(self.servers):
            self._listeners.append(listener)
            loop.add_reader(listener.fileno(), self._accept_many, listener)

    def _accept_many(self, listener: socket.socket) -> None:
        """uvloop accepts one connection in each of its turns: whoever fills the queue, and these turns, with requests
        of its own would keep all others waiting in it."""
        loop = asyncio.get_running_loop()
        for connection in _accept_waiting(listener, _ACCEPTED_AT_ONCE):
            task = loop.create_task(_connected(loop, self._protocol, connection), name="accept")
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _leave_accepting(self) -> None:
        while self._listeners:
            listener = self._listeners.pop()
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leave_accepting()
        if self._drain_seconds > 0:
            await self._stop_listening()
            ends = time.monotonic() + self._drain_seconds
            while self.server_state.connections and not self.force_exit and time.monotonic() < ends:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    async def _stop_listening(self) -> None:
        """Close the listeners, and take what the kernel has accepted meanwhile: it would be reset."""
        waiting: list[socket.socket] = []
        for server in self.servers:
            # The copies keep the sockets open until their queues are empty.
            copies = _copies([server])
            server.close()
            for listener in copies:
                waiting += _accept_waiting(listener)
                listener.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await _connected(loop, self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        kind = self.config.http_protocol_class
        assert not isinstance(kind, str)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]


def _copies(servers: Sequence[asyncio.Server]) -> list[socket.socket]:
    return [socket.fromfd(own.fileno(), own.family, own.type) for server in servers for own in server.sockets]


def _accept_waiting(listener: socket.socket, most: int | None = None) -> list[socket.socket]:
    listener.setblocking(False)
    accepted: list[socket.socket] = []
    while most is None or len(accepted) < most:
        try:
            accepted.append(listener.accept()[0])
        except OSError:  # none waits, or this process may open no more files: those are reset, as without us
            break
    return accepted


async def _connected(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.Protocol], connection: socket.socket
) -> None:
    try:
        await loop.connect_accepted_socket(protocol, connection)
    except OSError:  # it has gone meanwhile
        connection.close()


def server_config(
    app: ASGIApp, host: str, port: int, limits: ConnectionLimits | None = None, dates_itself: bool = False
) -> uvicorn.Config:
    """One process, our own access log, bounded connections, a bounded time for open requests when stopping.

    dates_itself: the application writes the ``Date`` of its answers. No process has a WebSocket: whatever library for
    them is installed, a request for one is answered as any other, within the same limits.
    """
    return uvicorn.Config(
        app,
        http=cast(
            "type[asyncio.Protocol]",
            partial(BoundedProtocol, own=Connections(_within_files(limits or ConnectionLimits()))),
        ),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=not dates_itself,
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
        backlog=_BACKLOG,
    )


def limits_of(settings: HttpSettings) -> ConnectionLimits:
    """The limits that people may set; the others stay as they are."""
    return ConnectionLimits(
        most=settings.max_connections,
        header_bytes=settings.max_header_bytes,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
    )


def _within_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Fewer connections where the process may open fewer files: without one left, no connection is even refused."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits
    return replace(limits, most=min(limits.most, max(16, files - _OTHER_FILES)))
