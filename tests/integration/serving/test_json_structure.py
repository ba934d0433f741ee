"""JSON of very many values costs the api no more than looking at it, and large honest requests pass."""

from typing import Any

import httpx
import pytest

from tidemill.web.json_structure import MOST_VALUES

_LARGE = MOST_VALUES + 1


@pytest.mark.parametrize(
    "body",
    [
        "{" + '"0":1,' * (_LARGE // 2) + '"1":1}',
        '{"items":[' + '{"":1},' * (_LARGE // 3 + 1) + "{}]}",
        "[" * _LARGE,
        "{" * _LARGE,
        '{"a":' * (_LARGE // 2 + 1),
        "[" + "1," * _LARGE + "1]",
        '{"name": "x", "a": "' + 'y\\"' * 9 + '", "b": [' + '"",' * _LARGE + '""]}',
    ],
    ids=range(7),
)
@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/feedback"])
@pytest.mark.parametrize("kind", ["application/json", None, "application/problem+json; charset=utf-8"])
async def test_a_body_of_very_many_values_is_refused_unparsed(
    api: httpx.AsyncClient, body: str, path: str, kind: str | None
) -> None:
    answer = await api.post(path, content=body.encode(), headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_complex")


async def test_marks_within_texts_are_no_values(api: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"name": ',:{["\\' * (MOST_VALUES // 2), "scopes": []}
    answer = await api.post("/api/v1/keys", json=body)
    assert answer.status_code == 422


async def test_a_problem_is_told_once_for_many_members_nobody_asked_for(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/v1/keys", json={str(number): 1 for number in range(5_000)})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 100
