"""What is sent again when a replica is away, and what never is."""

import httpx
import pytest

from tests.edge.conftest import Stack
from tests.edge.upstreams import DIE, Answer, Seen

PREDICT = "/api/v1/deployments/churn/predict"


def dying_first(stack: Stack, service: str) -> None:
    """Whichever replica is asked first dies with the request; the others answer."""
    asked: list[Seen] = []

    def behave(seen: Seen) -> Answer | str:
        asked.append(seen)
        return DIE if len(asked) == 1 else Answer()

    for upstream in stack.upstreams[service]:
        upstream.behaviour = behave


@pytest.mark.parametrize("path", ["/api/v1/feedback", "/api/v1/keys", "/api/v1/datasets/a/versions", "/sign-in"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_is_never_sent_twice(stack: Stack, client: httpx.Client, method: str, path: str) -> None:
    dying_first(stack, "api")
    answer = client.request(method, path, content=b"once", headers={"Idempotency-Key": "k" * 20})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_lost")
    assert answer.headers["retry-after"] == "1"
    assert stack.all("api") == [f"{method} {path}"]


def test_a_get_is_sent_again(stack: Stack, client: httpx.Client) -> None:
    dying_first(stack, "api")
    assert client.get("/api/v1/jobs").status_code == 200
    assert len(stack.all("api")) == 2


@pytest.mark.parametrize("presented", [None, "0199c0de-0000-7000-8000-000000000000"])
def test_a_prediction_is_sent_again_under_the_same_key(
    stack: Stack, client: httpx.Client, presented: str | None
) -> None:
    dying_first(stack, "model-server")
    headers = {} if presented is None else {"Idempotency-Key": presented}
    assert client.post(PREDICT, content=b"rows", headers=headers).status_code == 200
    first, second = [seen for one in stack.upstreams["model-server"] for seen in one.seen]
    assert first.body == second.body == b"rows"
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    if presented is not None:
        assert first.headers["idempotency-key"] == presented


def test_different_predictions_get_different_keys_of_their_moment(stack: Stack, client: httpx.Client) -> None:
    for _ in range(5):
        client.post(PREDICT, content=b"rows")
    keys = {seen.headers["idempotency-key"] for one in stack.upstreams["model-server"] for seen in one.seen}
    assert len(keys) == 5
    assert all(key[:10].isdigit() and key[10] == "." and key[14] == "-" for key in keys)


def test_a_replica_that_says_503_hands_its_prediction_on(stack: Stack, client: httpx.Client) -> None:
    first, second = stack.upstreams["model-server"]
    first.behaviour = lambda _seen: Answer(503)
    answers = [client.post(PREDICT, content=b"rows") for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(second.seen) == 6
    assert first.seen


def test_no_prediction_is_tried_more_than_three_times(stack: Stack, client: httpx.Client) -> None:
    for upstream in stack.upstreams["model-server"]:
        upstream.behaviour = lambda _seen: DIE
    answer = client.post(PREDICT, content=b"rows")
    assert (answer.status_code, answer.json()["error_code"]) == (502, "TEMPORARILY_UNAVAILABLE")
    assert 2 <= len(stack.all("model-server")) <= 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_replica_that_refuses_is_passed_over(stack: Stack, client: httpx.Client, method: str) -> None:
    first, second = stack.upstreams["api"]
    first.refuse()
    try:
        answers = [client.request(method, "/api/v1/feedback") for _ in range(10)]
    finally:
        first.open()
    assert {answer.status_code for answer in answers} == {200}
    assert (len(first.seen), len(second.seen)) == (0, 10)


def test_when_all_failed_within_a_second_they_are_still_tried(stack: Stack, client: httpx.Client) -> None:
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: DIE
    assert client.get("/api/v1/jobs").status_code == 502
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: Answer()
    assert client.get("/api/v1/jobs").status_code == 200


def test_an_answer_of_a_server_is_passed_on_as_it_is(stack: Stack, client: httpx.Client) -> None:
    for upstream in stack.upstreams["api"]:
        upstream.behaviour = lambda _seen: Answer(503, (("Retry-After", "2"),), b'{"code": "own"}')
    answer = client.post("/api/v1/feedback")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, {"code": "own"}, "2")
    assert len(stack.all("api")) == 1
