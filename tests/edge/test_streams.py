"""Uploads and events pass as they come."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.edge.conftest import Stack
from tests.edge.test_limits import until
from tests.edge.upstreams import Answer

_PIECE = b"x" * 2**16


@pytest.mark.parametrize("path", ["/api/v1/datasets/people/versions", "/api/v1/feedback/files"])
def test_an_upload_is_passed_on_while_it_comes_and_never_written_to_disk(
    stack: Stack, client: httpx.Client, path: str
) -> None:
    go_on = threading.Event()
    files: list[str] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield _PIECE
        assert go_on.wait(20), "the first bytes were held back"
        files.append(stack.edge.run("sh", "-c", "find /var/cache/nginx -type f; du -s /var/cache/nginx"))
        for _ in range(64):
            yield _PIECE

    def watch() -> None:
        until(lambda: stack.all("api"))
        (seen,) = [seen for one in stack.upstreams["api"] for seen in one.seen]
        if seen.first_piece.wait(20):
            go_on.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    answer = client.post(path, content=pieces())
    watcher.join(30)
    assert answer.status_code == 200
    (seen,) = [seen for one in stack.upstreams["api"] for seen in one.seen]
    assert len(seen.body) == 128 * len(_PIECE)
    assert "client_temp/" not in files[0]


def test_an_event_is_passed_on_before_the_next_one(stack: Stack, client: httpx.Client) -> None:
    go_on = threading.Event()
    events = Answer(headers=(("Content-Type", "text/event-stream"),), body=b"event: state\n\n", rest=go_on)
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: events
    with client.stream("GET", "/api/v1/jobs/job_1/events", headers={"Accept-Encoding": "gzip"}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"event: state\n\n"
        go_on.set()
        assert b"".join(pieces) == b"end"


def test_a_large_answer_is_not_parked_in_files(stack: Stack, client: httpx.Client) -> None:
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: Answer(body=b"y" * (64 * 2**20))
    with client.stream("GET", "/api/v1/serving/bundles/abc") as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        assert "proxy_temp/" not in stack.edge.run("find", "/var/cache/nginx", "-type", "f")
        assert len(first) + sum(len(piece) for piece in pieces) == 64 * 2**20
