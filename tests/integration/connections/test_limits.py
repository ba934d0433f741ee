"""What a connection may cost without a proxy in front, seen from a real socket."""

import time

import pytest

from tests.integration.connections.server import GET, HEAD, QUICK, Connect, rest, send
from tests.integration.test_stopping import answer_of
from tidemill.web.connections import host_of


def test_headers_within_the_limit_pass(connect: Connect) -> None:
    connection = connect()
    connection.sendall(GET[:-2] + b"X-Long: " + b"x" * 8000 + b"\r\n\r\n")
    assert answer_of(connection)[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        GET[:-2] + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n",
        GET[:-2] + b"X-Long: " + b"x" * 2**20,
        GET[:-2] + b"".join(b"X-%d: x\r\n" % number for number in range(300)) + b"\r\n",
        b"GET /" + b"x" * 2**20,
        b"G" * 2**20,
    ],
    ids=["whole", "endless value", "many", "endless path", "endless method"],
)
def test_headers_over_the_limit_are_refused(connect: Connect, data: bytes) -> None:
    connection = connect()
    send(connection, data)
    assert rest(connection).partition(b"\r\n")[0] in (
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
        send(connection, b"POST /count HTTP/1.1\r\n" + host + b"\r\n".join([header, second]) + b"\r\n\r\n")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        # The parser of HTTP itself refuses two lengths.
        assert b'"header_repeated"' in answer or header[:1] in (b"C", b"T"), answer


def test_endless_trailers_end_the_connection(connect: Connect) -> None:
    connection = connect()
    send(connection, b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ")
    send(connection, b"x" * 2**20)
    assert b" 200 " not in rest(connection)


@pytest.mark.parametrize("sent", [b"", GET[:10], GET[:-2]], ids=["nothing", "half a line", "all but the end"])
def test_headers_that_do_not_come_end_the_connection(connect_quickly: Connect, sent: bytes) -> None:
    connection = connect_quickly()
    connection.sendall(sent)
    assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_headers_of_a_second_request_have_the_same_time(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(GET)
    assert answer_of(connection)[0] == 200
    connection.sendall(GET[:10])
    assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_headers_that_trickle_get_no_more_time(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    ends = time.monotonic() + 20
    connection.settimeout(0.1)
    while time.monotonic() < ends:
        send(connection, b"G")
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
    connection.sendall(HEAD % 1000 + b"x" * 10)
    connection.settimeout(0.3)
    for _ in range(60):
        if trickle:
            send(connection, b"x")
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
    connection.sendall(HEAD.replace(b"/count", b"/known") % 2000)
    for _ in range(20):
        connection.sendall(b"x" * 100)
        time.sleep(0.1)  # the pace is what is tested
    connection.settimeout(60)
    assert answer_of(connection)[0] == 200


def test_a_body_of_a_stranger_has_one_span_for_the_whole(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(HEAD % (1 << 20))
    connection.settimeout(0.1)
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        send(connection, b"x" * 100)  # six times the pace
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
    assert rest(connection).count(b"tick") == 6


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
    send(connection, b"x" * size)
    assert answer_of(connection)[0] == 401
    if not last:
        connection.sendall(GET)
        assert answer_of(connection)[0] == 200, "the connection is in good order after the body"


def test_the_rest_of_a_refused_body_is_not_awaited_for_long(connect_quickly: Connect) -> None:
    connection = connect_quickly()
    connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
    assert answer_of(connection)[0] == 401
    assert rest(connection) == b""


def test_a_body_held_back_for_a_refused_request_is_not_awaited(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
    status, headers = answer_of(connection)
    assert (status, headers["connection"]) == (401, "close")


def test_whoever_waits_longest_makes_room_for_the_next(connect: Connect) -> None:
    half_open = [connect() for _ in range(3 * QUICK.most)]
    for connection in half_open:
        send(connection, b"GET")
    newcomer = connect()
    newcomer.sendall(GET)
    assert answer_of(newcomer)[0] == 200
    closed = 0
    for connection in half_open[: QUICK.most]:
        closed += rest(connection) in (b"",)
    assert closed == QUICK.most, "the first ones were ended, unanswered"


def test_connections_at_work_are_not_ended_for_newcomers(connect: Connect) -> None:
    working = [connect() for _ in range(QUICK.most)]
    for connection in working:
        connection.sendall(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    connect.until_open(QUICK.most)
    refused = connect()
    assert rest(refused).startswith(b"HTTP/1.1 503 ")
    assert [answer_of(connection)[0] for connection in working] == [200] * QUICK.most


_DOCUMENT = b"GET /document HTTP/1.1\r\nHost: x\r\n%b\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD % 1000 + b"x" * 20,
        b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
        _DOCUMENT % b"",
        _DOCUMENT % b"Connection: close\r\n",
    ],
    ids=["a slow body", "the rest of a refused body", "a slow taker", "a slow taker who is the last"],
)
def test_strangers_who_hold_up_their_request_make_room(connect: Connect, sent: bytes) -> None:
    holding = [connect() for _ in range(2 * QUICK.most)]
    for connection in holding:
        send(connection, sent)
    for _ in range(2):
        _until_answered(connect)


def _until_answered(connect: Connect) -> None:
    """While all the others are just being worked for, nobody can make room: whoever is refused then comes again."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        newcomer = connect()
        send(newcomer, GET)
        if newcomer.recv(13) == b"HTTP/1.1 200 ":
            return
    pytest.fail("no newcomer was answered")


def test_known_callers_keep_their_connection_while_they_send(connect: Connect) -> None:
    known = [connect() for _ in range(QUICK.most)]
    for connection in known:
        connection.sendall(b"POST /known HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "somebody reads: the caller is known by now"
    assert rest(connect()).startswith(b"HTTP/1.1 503 ")
    for connection in known:
        connection.sendall(b"x" * 1000)
        assert answer_of(connection)[0] == 200


def test_the_host_with_the_most_connections_makes_room_however_quickly_it_makes_new_ones(connect: Connect) -> None:
    first = connect("127.0.0.2")
    first.sendall(GET)
    assert answer_of(first)[0] == 200
    for _ in range(3 * QUICK.most):
        send(connect("127.0.0.3"), HEAD % 1000)
    first.sendall(GET)
    assert answer_of(first)[0] == 200, "the oldest of all that wait, of a host that has this one alone"


def test_whoever_asks_for_a_websocket_is_answered_and_gives_the_place_back(connect: Connect) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    for _ in range(2 * QUICK.most):
        connection = connect()
        connection.sendall(GET[:-2] + upgrade + b"\r\n")
        assert answer_of(connection)[0] == 200
        connection.close()
    connect.until_open(0)
    newcomer = connect()
    newcomer.sendall(GET)
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
