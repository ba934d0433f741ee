"""A server on a real socket whose limits are near, and connections to it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import uvicorn
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry

from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.connections import ConnectionLimits, caller_is_known
from tidemill.web.server import server_config

QUICK = ConnectionLimits(
    most=8,
    header_bytes=8192,
    header_seconds=0.5,
    body_seconds=1,
    body_bytes=16,
    answer_seconds=1,
    drain_seconds=1.5,
    look_seconds=0.05,
)
"""For tests of what has an end by itself."""
PATIENT = replace(QUICK, header_seconds=120, body_seconds=120, answer_seconds=120, drain_seconds=120)
"""For all others: what they see comes from no limit of time, however slow the machine."""
HEAD = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
LATER = b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def _bodies() -> APIRouter:
    router = APIRouter()

    @router.post("/count", operation_id="count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @router.post("/known", operation_id="known")
    async def known(request: Request) -> int:
        """As any route does whose caller has shown a key."""
        caller_is_known(request.scope)
        return len(await request.body())

    @router.post("/refuse", operation_id="refuse", status_code=401)
    async def refuse() -> None: ...

    @router.post("/later", operation_id="later")
    async def later(request: Request) -> int:
        await asyncio.sleep(2 * QUICK.body_seconds)
        return len(await request.body())

    return router


def _answers() -> APIRouter:
    router = APIRouter()

    @router.get("/document", operation_id="document")
    async def document() -> Response:
        return Response(b"x" * (8 << 20))

    @router.get("/ticks", operation_id="ticks")
    async def ticks() -> StreamingResponse:
        async def events() -> object:
            for _ in range(6):
                yield "tick\n"
                await asyncio.sleep(QUICK.answer_seconds / 2)

        return StreamingResponse(events(), media_type="text/event-stream")  # type: ignore[arg-type]

    @router.get("/endless", operation_id="endless")
    async def endless() -> StreamingResponse:
        async def pieces() -> object:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)

        return StreamingResponse(pieces())  # type: ignore[arg-type]

    return router


class Connect:
    """Makes connections to a server, and knows how many that has open."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._address = server.servers[0].sockets[0].getsockname()
        self._open = server.server_state.connections
        self._state = server.server_state
        self.made: list[socket.socket] = []

    def __call__(self, host: str = "127.0.0.1") -> socket.socket:
        """From ``host``: all of 127.0.0.0/8 is this machine."""
        self.made.append(socket.create_connection(self._address, timeout=60, source_address=(host, 0)))
        return self.made[-1]

    @property
    def answered(self) -> int:
        return self._state.total_requests

    def until_open(self, count: int) -> None:
        ends = time.monotonic() + 60
        while len(self._open) != count:
            assert time.monotonic() < ends, f"{len(self._open)} connections are open"
            time.sleep(0.02)


@contextmanager
def serving_with(loop: str, limits: ConnectionLimits) -> Iterator[Connect]:
    app = create_web_app(WebConfig("test", CollectorRegistry(), 64 << 20), [_bodies(), _answers()])
    config = server_config(app, "127.0.0.1", 0, limits)
    config.loop = loop
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    connect = Connect(server)
    yield connect
    for connection in connect.made:
        connection.close()
    server.should_exit = True
    thread.join(20)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset is a close too."""
    found = b""
    with suppress(ConnectionResetError, BrokenPipeError):
        while piece := connection.recv(65536):
            found += piece
    return found


def send(connection: socket.socket, data: bytes) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(data)
