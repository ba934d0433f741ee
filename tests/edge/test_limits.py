"""Too much, too large, too slow."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.edge.conftest import MakeEdge, Stack
from tests.edge.nginx import Edge
from tests.edge.upstreams import Answer

PREDICT = "/api/v1/deployments/churn/predict"


@pytest.fixture(scope="module")
def strict(make_edge: MakeEdge) -> Edge:
    """With small limits, refilled so slowly that a test is over before."""
    return make_edge(
        API_RATE="1r/m",
        API_BURST="20",
        PREDICT_RATE="1r/m",
        PREDICT_BURST="9",
        SIGN_IN_RATE="1r/m",
        SIGN_IN_BURST="2",
        ADDRESS_CONNECTIONS="4",
        TRUSTED_PROXIES="127.0.0.1 10.9.0.0/16",
        MAX_BODY="1m",
        MAX_PREDICT_BODY="2m",
        MAX_UPLOAD="3m",
        HSTS_SECONDS="0",
    )


@contextlib.contextmanager
def caller(edge: Edge, address: str, key: str | None = None) -> Iterator[httpx.Client]:
    """As a trusted proxy tells of a caller at ``address``."""
    headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {key}"} if key else {})
    with edge.client(headers=headers) as client:
        yield client


def test_a_flood_from_one_address_gets_429_and_others_do_not(stack: Stack, strict: Edge) -> None:
    with caller(strict, "192.0.2.1") as flood, caller(strict, "192.0.2.2") as other:
        answers = [flood.get("/api/v1/jobs") for _ in range(30)]
        assert [answer.status_code for answer in answers] == [200] * 21 + [429] * 9
        assert other.get("/api/v1/jobs").status_code == 200
    refused = answers[-1]
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert len(stack.all("api")) == 22


def test_a_flood_with_one_key_from_many_addresses_gets_429(stack: Stack, strict: Edge) -> None:
    statuses = []
    for number in range(12):
        with caller(strict, f"192.0.2.{20 + number}", "tm_one") as client:
            statuses.append(client.post(PREDICT, json={}).status_code)
    assert statuses == [200] * 10 + [429] * 2
    with caller(strict, "192.0.2.40", "tm_other") as client:
        assert client.post(PREDICT, json={}).status_code == 200
    assert len(stack.all("model-server")) == 11


def test_attempts_to_sign_in_are_few(stack: Stack, strict: Edge) -> None:
    with caller(strict, "192.0.2.50") as client:
        assert [client.post("/sign-in", data={"key": "x"}).status_code for _ in range(5)] == [200] * 3 + [429] * 2
        assert client.get("/sign-in").status_code == 200
    assert len(stack.all("api")) == 4


def test_a_trusted_proxy_names_the_caller_and_nobody_else_can(stack: Stack, strict: Edge) -> None:
    with caller(strict, "203.0.113.9, 192.0.2.60, 10.9.1.1") as client:
        client.get("/api/v1/jobs")
    (seen,) = [seen for one in stack.upstreams["api"] for seen in one.seen]
    assert seen.headers["x-forwarded-for"] == "192.0.2.60", "the last address that no trusted proxy has"


def test_open_requests_of_an_address_are_bounded(stack: Stack, strict: Edge) -> None:
    go_on = threading.Event()
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: Answer(body=b"first", rest=go_on)
    with caller(strict, "192.0.2.70") as client, ThreadPoolExecutor(4) as pool, caller(strict, "192.0.2.71") as other:
        held = [pool.submit(client.get, "/api/v1/jobs/job_1/events") for _ in range(4)]
        until(lambda: len(stack.all("api")) == 4)
        refused = client.get("/api/v1/jobs")
        stack.upstreams["api"][0].behaviour = stack.upstreams["api"][1].behaviour = lambda _seen: Answer()
        assert other.get("/api/v1/jobs").status_code == 200
        go_on.set()
        assert [answer.result(20).content for answer in held] == [b"firstend"] * 4
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert client.get("/api/v1/jobs").status_code == 200


@pytest.mark.parametrize(
    ("path", "limit_mebibytes", "service"),
    [
        ("/api/v1/jobs", 1, "api"),
        (PREDICT, 2, "model-server"),
        ("/invocations", 2, "model-server"),
        ("/api/v1/datasets/people/versions", 3, "api"),
        ("/api/v1/feedback/files", 3, "api"),
    ],
)
def test_each_route_has_its_largest_body(
    stack: Stack, strict: Edge, path: str, limit_mebibytes: int, service: str
) -> None:
    most = limit_mebibytes * 2**20
    with caller(strict, f"192.0.2.{80 + len(path)}") as client:
        assert client.post(path, content=b"x" * most).status_code == 200
        refused = client.post(path, content=b"x" * (most + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
    (seen,) = [seen for one in stack.upstreams[service] for seen in one.seen]
    assert len(seen.body) == most


def test_large_headers_and_addresses_are_told_apart(client: httpx.Client, stack: Stack) -> None:
    header = client.get("/api/v1/jobs", headers={"X-Large": "x" * 20_000})
    assert (header.status_code, header.json()["code"]) == (431, "headers_too_large")
    many = client.get("/api/v1/jobs", headers={f"X-{number}": "x" * 8_000 for number in range(10)})
    assert many.status_code == 431
    address = client.get("/" + "x" * 20_000)
    assert (address.status_code, address.json()["code"]) == (414, "address_too_long")
    assert not stack.all("api")


def test_nonsense_is_a_bad_request(stack: Stack) -> None:
    with raw(stack.edge) as connection:
        connection.sendall(b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]
    assert not stack.all("api")


def test_two_lengths_or_a_length_and_chunks_are_refused(stack: Stack) -> None:
    for headers in (b"Content-Length: 3\r\nContent-Length: 5", b"Content-Length: 3\r\nTransfer-Encoding: chunked"):
        with raw(stack.edge) as connection:
            connection.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n0\r\n\r\nGET /")
            assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]
    assert not stack.all("api")


def test_a_slow_head_is_cut_off_and_a_slow_body_keeps_no_server_busy(stack: Stack) -> None:
    started = time.monotonic()
    with raw(stack.edge) as head, raw(stack.edge) as body:
        head.sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        body.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx".encode())
        assert head.recv(4096) == b"", "closed without a word"
        assert time.monotonic() - started > 5
        assert not stack.all("api") + stack.all("model-server")


def until(holds: Callable[[], object]) -> None:
    """Wait until ``holds``; fails the test when it does not in time."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def raw(edge: Edge) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", edge.port), timeout=30)
    with edge.trust().wrap_socket(plain, server_hostname="localhost") as connection:
        yield connection
