"""What a connection may cost without a proxy in front, seen from a real socket."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import uvicorn
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry

from tests.integration.test_stopping import answer_of
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.connections import ConnectionLimits, caller_is_known, host_of
from tidemill.web.server import server_config

_QUICK = ConnectionLimits(
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
_PATIENT = replace(_QUICK, header_seconds=120, body_seconds=120, answer_seconds=120, drain_seconds=120)
"""For all others: what they see comes from no limit of time, however slow the machine."""
_HEAD = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
_LATER = b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
_GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


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
        await asyncio.sleep(2 * _QUICK.body_seconds)
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
                await asyncio.sleep(_QUICK.answer_seconds / 2)

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
def _serving(loop: str, limits: ConnectionLimits) -> Iterator[Connect]:
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


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def serving(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with _serving(request.param, _PATIENT) as connect:
        yield connect


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def serving_quickly(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with _serving(request.param, _QUICK) as connect:
        yield connect


@pytest.fixture
def connect(serving: Connect) -> Connect:
    """The server without any connection."""
    return _without_connections(serving)


@pytest.fixture
def connect_quickly(serving_quickly: Connect) -> Connect:
    """A server whose limits of time are over soon, without any connection."""
    return _without_connections(serving_quickly)


def _without_connections(connect: Connect) -> Connect:
    while connect.made:
        connect.made.pop().close()
    connect.until_open(0)
    return connect


def _rest(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset is a close too."""
    found = b""
    with suppress(ConnectionResetError, BrokenPipeError):
        while piece := connection.recv(65536):
            found += piece
    return found


def _send(connection: socket.socket, data: bytes) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(data)


def test_headers_within_the_limit_pass(connect: Connect) -> None:
    connection = connect()
    connection.sendall(_GET[:-2] + b"X-Long: " + b"x" * 8000 + b"\r\n\r\n")
    assert answer_of(connection)[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        _GET[:-2] + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n",
        _GET[:-2] + b"X-Long: " + b"x" * 2**20,
        _GET[:-2] + b"".join(b"X-%d: x\r\n" % number for number in range(300)) + b"\r\n",
        b"GET /" + b"x" * 2**20,
        b"G" * 2**20,
    ],
    ids=["whole", "endless value", "many", "endless path", "endless method"],
)
def test_headers_over_the_limit_are_refused(connect: Connect, data: bytes) -> None:
    connection = connect()
    _send(connection, data)
    assert _rest(connection).partition(b"\r\n")[0] in (
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"HTTP/1.1 400 Bad Request",  # what is no HTTP at all
    )


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer a",
        b"Host: x",
        b"Content-Length: 2",
        b"Content-Type: text/csv",
        b"Idempotency-Key: a",
        b"Transfer-Encoding: chunked",
        b"X-Tidemill-Access: read",
        b"Cookie: a=b",
    ],
)
def test_a_header_that_may_stand_once_is_refused_when_it_stands_twice(connect: Connect, header: bytes) -> None:
    host = b"" if header.startswith(b"Host") else b"Host: x\r\n"
    again = header.partition(b":")[0].upper() + b":" + header.partition(b":")[2] + b"b"
    for second in (header, again):
        connection = connect()
        _send(connection, b"POST /count HTTP/1.1\r\n" + host + b"\r\n".join([header, second]) + b"\r\n\r\n")
        answer = _rest(connection)
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        # The parser of HTTP itself refuses two lengths.
        assert b'"header_repeated"' in answer or header[:1] in (b"C", b"T"), answer


def test_a_few_requests_at_once_are_answered_in_their_order(connect: Connect) -> None:
    connection = connect()
    last = _GET[:-2] + b"Connection: close\r\n\r\n"
    connection.sendall(b"".join(_HEAD % length + b"x" * length for length in range(1, 12)) + last)
    assert re.findall(rb"\r\n\r\n(\d+)", _rest(connection)) == [str(length).encode() for length in range(1, 12)]


@pytest.mark.parametrize(
    "request_", [_GET, _HEAD % 3 + b"abc", _GET[:-2] + b"Expect: 100-continue\r\n\r\n"], ids=range(3)
)
def test_requests_without_end_whose_answers_nobody_awaits_end_their_connection(
    connect: Connect, request_: bytes
) -> None:
    before = connect.answered
    connection = connect()
    _send(connection, request_ * 20_000)
    _rest(connection)
    connect.until_open(0)
    assert connect.answered - before < 100


_BEHIND = {
    "more than may come ahead": _GET * 200,
    "what is no request": b"\0\r\n\r\n",
    "an address that is none": b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    "headers over the limit": b"GET / HTTP/1.1\r\nA: " + b"x" * (2 * _QUICK.header_bytes),
    "headers that do not come": b"GET / HTTP/1.1\r\nA: ",
}


@pytest.mark.parametrize("name", _BEHIND)
def test_what_came_whole_is_answered_whatever_comes_behind_it(connect: Connect, name: str) -> None:
    connection = connect()
    slow = _LATER if name == "headers that do not come" else _HEAD % 3  # the others are found at once
    with suppress(OSError):
        connection.sendall(_HEAD % 1 + b"x" + slow + b"abc" + _BEHIND[name])
    answer = _rest(connection)
    assert re.findall(rb"\r\n\r\n(\d+)", answer) == [b"1", b"3"], answer
    assert answer.count(b"connection: close") == 1
    connection.close()
    connect.until_open(0)


def test_a_damaged_body_behind_others_ends_the_connection(connect: Connect) -> None:
    connection = connect()
    connection.sendall(_LATER + b"abc" + b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n")
    assert b"HTTP/1.1 200" not in _rest(connection)
    connect.until_open(0)


def test_endless_trailers_end_the_connection(connect: Connect) -> None:
    connection = connect()
    _send(connection, b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ")
    _send(connection, b"x" * 2**20)
    assert b" 200 " not in _rest(connection)


@pytest.mark.parametrize("sent", [b"", _GET[:10], _GET[:-2]], ids=["nothing", "half a line", "all but the end"])
def test_headers_that_do_not_come_end_the_connection(connect_quickly: Connect, sent: bytes) -> None:
    connection = connect_quickly()
    connection.sendall(sent)
    assert _rest(connection).startswith(b"HTTP/1.1 408 ")


def test_headers_of_a_second_request_have_the_same_time(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(_GET)
    assert answer_of(connection)[0] == 200
    connection.sendall(_GET[:10])
    assert _rest(connection).startswith(b"HTTP/1.1 408 ")


def test_headers_that_trickle_get_no_more_time(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    ends = time.monotonic() + 20
    connection.settimeout(0.1)
    while time.monotonic() < ends:
        _send(connection, b"G")
        try:
            if not connection.recv(65536):
                return
            continue
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
    pytest.fail("the connection was never closed")


@pytest.mark.parametrize("trickle", [False, True])
def test_a_body_that_comes_too_slowly_ends_the_connection(connect_quickly: Connect, trickle: bool) -> None:
    connection = connect_quickly()
    connection.sendall(_HEAD % 1000 + b"x" * 10)
    connection.settimeout(0.3)
    for _ in range(60):
        if trickle:
            _send(connection, b"x")
        try:
            assert connection.recv(100) == b""
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
        return
    pytest.fail("the connection was never closed")


def test_a_long_body_of_a_known_caller_that_keeps_its_pace_is_read_to_its_end(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(_HEAD.replace(b"/count", b"/known") % 2000)
    for _ in range(20):
        connection.sendall(b"x" * 100)
        time.sleep(0.1)  # the pace is what is tested
    connection.settimeout(60)
    assert answer_of(connection)[0] == 200


def test_a_body_of_a_stranger_has_one_span_for_the_whole(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(_HEAD % (1 << 20))
    connection.settimeout(0.1)
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        _send(connection, b"x" * 100)  # six times the pace
        try:
            if not connection.recv(100):
                return
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
    pytest.fail("the connection was never closed")


def test_time_in_which_the_server_does_not_read_is_not_the_clients(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    size = 8 << 20
    connection.sendall(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    connection.sendall(b"x" * size)
    assert answer_of(connection)[0] == 200


def test_a_stream_of_events_goes_on_however_quiet_its_client(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert _rest(connection).count(b"tick") == 6


def test_an_answer_that_nobody_takes_ends_the_connection(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(13) == b"HTTP/1.1 200 "
    connect_quickly.until_open(0)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_an_answer_before_the_body_arrives_whole_although_the_client_still_sends(connect: Connect, last: bytes) -> None:
    connection = connect()
    size = 8 << 20
    connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n" % (last, size))
    _send(connection, b"x" * size)
    assert answer_of(connection)[0] == 401
    if not last:
        connection.sendall(_GET)
        assert answer_of(connection)[0] == 200, "the connection is in good order after the body"


def test_the_rest_of_a_refused_body_is_not_awaited_for_long(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
    assert answer_of(connection)[0] == 401
    assert _rest(connection) == b""


def test_a_body_held_back_for_a_refused_request_is_not_awaited(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
    status, headers = answer_of(connection)
    assert (status, headers["connection"]) == (401, "close")


def test_whoever_waits_longest_makes_room_for_the_next(connect: Connect) -> None:
    half_open = [connect() for _ in range(3 * _QUICK.most)]
    for connection in half_open:
        _send(connection, b"GET")
    newcomer = connect()
    newcomer.sendall(_GET)
    assert answer_of(newcomer)[0] == 200
    closed = 0
    for connection in half_open[: _QUICK.most]:
        closed += _rest(connection) in (b"",)
    assert closed == _QUICK.most, "the first ones were ended, unanswered"


def test_connections_at_work_are_not_ended_for_newcomers(connect: Connect) -> None:
    working = [connect() for _ in range(_QUICK.most)]
    for connection in working:
        connection.sendall(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    connect.until_open(_QUICK.most)
    refused = connect()
    assert _rest(refused).startswith(b"HTTP/1.1 503 ")
    assert [answer_of(connection)[0] for connection in working] == [200] * _QUICK.most


_DOCUMENT = b"GET /document HTTP/1.1\r\nHost: x\r\n%b\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        _HEAD % 1000 + b"x" * 20,
        b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
        _DOCUMENT % b"",
        _DOCUMENT % b"Connection: close\r\n",
    ],
    ids=["a slow body", "the rest of a refused body", "a slow taker", "a slow taker who is the last"],
)
def test_strangers_who_hold_up_their_request_make_room(connect: Connect, sent: bytes) -> None:
    holding = [connect() for _ in range(2 * _QUICK.most)]
    for connection in holding:
        _send(connection, sent)
    for _ in range(2):
        _until_answered(connect)


def _until_answered(connect: Connect) -> None:
    """While all the others are just being worked for, nobody can make room: whoever is refused then comes again."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        newcomer = connect()
        _send(newcomer, _GET)
        if newcomer.recv(13) == b"HTTP/1.1 200 ":
            return
    pytest.fail("no newcomer was answered")


def test_known_callers_keep_their_connection_while_they_send(connect: Connect) -> None:
    known = [connect() for _ in range(_QUICK.most)]
    for connection in known:
        connection.sendall(b"POST /known HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "somebody reads: the caller is known by now"
    assert _rest(connect()).startswith(b"HTTP/1.1 503 ")
    for connection in known:
        connection.sendall(b"x" * 1000)
        assert answer_of(connection)[0] == 200


def test_the_host_with_the_most_connections_makes_room_however_quickly_it_makes_new_ones(connect: Connect) -> None:
    first = connect("127.0.0.2")
    first.sendall(_GET)
    assert answer_of(first)[0] == 200
    for _ in range(3 * _QUICK.most):
        _send(connect("127.0.0.3"), _HEAD % 1000)
    first.sendall(_GET)
    assert answer_of(first)[0] == 200, "the oldest of all that wait, of a host that has this one alone"


def test_whoever_asks_for_a_websocket_is_answered_and_gives_the_place_back(connect: Connect) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    for _ in range(2 * _QUICK.most):
        connection = connect()
        connection.sendall(_GET[:-2] + upgrade + b"\r\n")
        assert answer_of(connection)[0] == 200
        connection.close()
    connect.until_open(0)
    newcomer = connect()
    newcomer.sendall(_GET)
    assert answer_of(newcomer)[0] == 200


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3::4", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("/run/socket", ""),
        (None, ""),
    ],
)
def test_all_addresses_of_one_host_count_together(peer: object, host: str) -> None:
    assert host_of(peer) == host
