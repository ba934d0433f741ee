"""No body of JSON costs the api more than to read it, on any route, whatever is in it and whoever sent it; no member of
it is dropped unsaid.
"""

import re

import httpx
import pytest

from tests.integration.conftest import MakeKey
from tidemill.auth.scopes import Scope
from tidemill.settings.model import ApiSettings, Settings
from tidemill.web.json_body import LIMITS

_SOME_MIB = 2**21
_HOSTILE = {
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(LIMITS.values + 1)) + b"}",
    "depth": b'{"items":' + b"[" * (LIMITS.depth + 1) + b"]" * (LIMITS.depth + 1) + b"}",
    "unclosed": b"[" * _SOME_MIB,
    "number": b'{"items":' + b"1" * _SOME_MIB + b"}",
    "repeated": b'{"items": [{"truth": "yes", "trut\\u0068": "no"}]}',
}
_CODES = {
    "members": (413, "json_too_many_values"),
    "depth": (400, "json_too_deep"),
    "unclosed": (413, "json_too_many_values"),
    "number": (400, "json_number_too_long"),
    "repeated": (422, "member_repeated"),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api": ApiSettings(max_body_bytes=16 * 2**20, request_memory_bytes=2**27)})


def _bodies(api: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Method and path of every route that reads JSON."""
    app = api._transport.app  # type: ignore[attr-defined]
    found = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                found.append((method.upper(), re.sub(r"\{[a-z_]+\}", "a", path)))
    return found


async def test_a_hostile_body_is_refused_by_its_shape_on_every_route_that_reads_json(api: httpx.AsyncClient) -> None:
    routes = _bodies(api)
    assert len(routes) >= 11
    found = {}
    for method, path in routes:
        for name, body in _HOSTILE.items():
            answer = await api.request(method, path, content=body)
            found[method, path, name] = answer.status_code, answer.json()["code"]
    assert {place: code for place, code in found.items() if code != _CODES[place[2]]} == {}


async def test_a_body_too_large_for_the_memory_of_a_request_is_refused_and_gives_its_claim_back(
    anonymous_api: httpx.AsyncClient, make_key: MakeKey
) -> None:
    headers = {"Authorization": f"Bearer {await make_key(Scope.FEEDBACK_WRITE)}"}
    wide = b'{"items": ["' + "\N{GRINNING FACE}".encode() * 2**21 + b'"]}'
    for _ in range(3):
        answer = await anonymous_api.post("/api/v1/feedback", content=wide, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    plain = b'{"items": ["' + b"x" * 2**23 + b'"]}'
    for _ in range(5):
        answer = await anonymous_api.post("/api/v1/feedback", content=plain, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_the_largest_request_that_the_schemas_allow_is_taken(api: httpx.AsyncClient) -> None:
    items = [
        {"prediction_id": f"prd_{n:032x}", "truth": 10**300 + n, "observed_at": "2026-01-31T12:00:00+00:00"}
        for n in range(10_000)
    ]
    answer = await api.post("/api/v1/feedback", json={"items": items, "deployment": None})
    assert (answer.status_code, answer.json().get("accepted")) == (200, 10_000), answer.text[:500]
