"""A server that is told to stop loses no request of a proxy that keeps connections."""

import asyncio
import socket
import threading
import time

import httptools
import pytest
from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.server import Server, server_config

_PAUSE_SECONDS = 0.002
_MOST_LATE = 300
_REQUEST = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


class Running:
    """The server on a loop of its own, and what a handler of it waits for."""

    def __init__(self, drain_seconds: float, loop: str) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        router = APIRouter()

        @router.get("/slow", operation_id="slow")
        async def slow() -> dict[str, str]:
            self.entered.set()
            await asyncio.to_thread(self.go_on.wait, 60)
            return {"answer": "yes"}

        app = create_web_app(WebConfig("test", CollectorRegistry(), 1000), [router])
        config = server_config(app, "127.0.0.1", 0)
        config.loop = loop
        self.server = Server(config, drain_seconds)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
        self.address = self.server.servers[0].sockets[0].getsockname()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=60)

    def stop(self) -> None:
        self.server.handle_exit(15, None)

    def until_refusing(self) -> None:
        while True:
            try:
                self.connect().close()
            except (ConnectionRefusedError, ConnectionResetError):  # the latter if it comes while the listener closes
                return
            time.sleep(_PAUSE_SECONDS)  # more connections than a server takes at once would push out those that wait


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str]]:
    found: dict[str, str] = {}

    class Events:
        complete = False

        def on_header(self, name: bytes, value: bytes) -> None:
            found[name.decode().lower()] = value.decode()

        def on_message_complete(self) -> None:
            self.complete = True

    events = Events()
    parser = httptools.HttpResponseParser(events)
    while not events.complete:
        piece = connection.recv(65536)
        assert piece, "the connection was closed without an answer"
        parser.feed_data(piece)
    return parser.get_status_code(), found


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_on_an_idle_connection_is_still_answered_as_the_last_one(loop: str) -> None:
    running = Running(drain_seconds=10, loop=loop)
    running.go_on.set()
    idle = running.connect()
    idle.sendall(_REQUEST)
    status, headers = answer_of(idle)
    assert (status, headers.get("connection")) == (200, None)
    running.stop()
    running.until_refusing()
    idle.sendall(_REQUEST)
    status, headers = answer_of(idle)
    assert (status, headers["connection"]) == (200, "close")
    assert idle.recv(10) == b""
    running.thread.join(60)
    assert not running.thread.is_alive()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_under_way_is_answered_and_connections_in_the_queue_are_taken(loop: str) -> None:
    running = Running(drain_seconds=10, loop=loop)
    under_way = running.connect()
    under_way.sendall(_REQUEST)
    assert running.entered.wait(60)
    running.stop()
    late: list[socket.socket] = []
    while len(late) < _MOST_LATE:  # whoever got a connection at all gets an answer on it
        try:
            late.append(running.connect())
        except (ConnectionRefusedError, ConnectionResetError):
            break
        late[-1].sendall(_REQUEST)
    running.go_on.set()
    for connection in [under_way, *late]:
        assert answer_of(connection)[0] == 200
    running.thread.join(60)
    assert not running.thread.is_alive()


@pytest.mark.parametrize("drain_seconds", [0, 0.3])
def test_an_idle_connection_delays_the_end_by_the_drain_at_most(drain_seconds: float) -> None:
    running = Running(drain_seconds, loop="uvloop")
    running.go_on.set()
    idle = running.connect()
    idle.sendall(_REQUEST)
    answer_of(idle)
    running.stop()
    assert idle.recv(10) == b""
    running.thread.join(60)
    assert not running.thread.is_alive()


async def _turns_until(count: int, server: Server) -> int:
    turns = 0
    while len(server.server_state.connections) < count:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 100_000
    return turns


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_whoever_waits_to_be_accepted_has_a_turn_before_long_however_many_came_before(loop: str) -> None:
    """A host that keeps the process busy and its queue full would else keep all others out."""
    held, waiting, router = threading.Event(), threading.Event(), APIRouter()
    turns: list[int] = []

    @router.get("/hold", operation_id="hold")
    async def hold() -> None:
        waiting.set()
        held.wait(20)  # the whole loop, as one that is busy
        turns.append(await _turns_until(101, server))

    config = server_config(create_web_app(WebConfig("test", CollectorRegistry(), 1000), [router]), "127.0.0.1", 0)
    config.loop = loop
    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    address = server.servers[0].sockets[0].getsockname()
    first = socket.create_connection(address, timeout=20)
    first.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    assert waiting.wait(20)
    others = [socket.create_connection(address, timeout=20) for _ in range(100)]
    held.set()
    answer_of(first)
    for connection in (first, *others):
        connection.close()
    server.handle_exit(15, None)
    thread.join(20)
    assert turns[0] < 30
