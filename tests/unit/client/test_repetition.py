"""What the SDK sends again, against a real server on loopback."""

import socket
from collections.abc import Iterator

import pytest

from tests.unit.client.loopback import QuietHandler, transport_to
from tidemill.client.transport import Transport
from tidemill.kit.errors import DeadlineExceeded, Invalid, Unavailable


class Script:
    """Answers with these statuses, one after the other, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked = 0


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def transport(script: Script) -> Iterator[Transport]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers.get("content-length", 0)))
            script.asked += 1
            status = script.statuses.pop(0) if script.statuses else 200
            self.send_response(status)
            self.send_header("content-length", "2")
            self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET  # noqa: N815

    with transport_to(Handler) as transport:
        yield transport


@pytest.mark.parametrize(("method", "statuses"), [("GET", [502, 503, 429]), ("POST", [429, 429])])
def test_a_request_that_did_nothing_is_sent_again(
    transport: Transport, script: Script, method: str, statuses: list[int]
) -> None:
    script.statuses, expected = list(statuses), len(statuses) + 1
    assert transport.request(method, "/x", json={}) == {}
    assert script.asked == expected


@pytest.mark.parametrize("status", [502, 503])
def test_a_post_that_may_have_done_something_is_not(transport: Transport, script: Script, status: int) -> None:
    script.statuses = [status]
    with pytest.raises(Unavailable):
        transport.request("POST", "/x", json={})
    assert script.asked == 1


def test_a_refused_stream_is_not_sent_half_and_tries_are_bounded(transport: Transport, script: Script) -> None:
    script.statuses = [429]
    with pytest.raises(Unavailable):
        transport.request("POST", "/x", content=iter([b"a", b"b"]))
    assert script.asked == 1
    script.statuses = [429] * 10
    with pytest.raises(Unavailable):
        transport.request("GET", "/x")
    assert script.asked == 1 + 4


def test_an_answer_that_does_not_come_in_time_is_not_waited_for_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = Transport(f"http://127.0.0.1:{silent.getsockname()[1]}", None, timeout_seconds=0.2)
        with pytest.raises(DeadlineExceeded):
            transport.request("GET", "/x")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    transport.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(transport: Transport, value: object) -> None:
    with pytest.raises(Invalid) as caught:
        transport.request("POST", "/rows", json={"a": value})
    assert caught.value.code == "value_not_json"


def test_texts_that_are_no_unicode_are_refused_wherever_they_stand(transport: Transport) -> None:
    for path, params in (("/rows/\ud800", None), ("/rows", {"page_token": "\ud800"})):
        with pytest.raises(Invalid):
            transport.request("GET", path, params=params)
    with pytest.raises(Invalid):
        Transport("http://127.0.0.1:1", "\u00fc\ud800")
    with pytest.raises(Invalid):
        Transport("http://127.0.0.1:port", None)
