"""Nothing that a caller can send ends in a 5xx, a broken connection or an answer that is no problem."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.integration.conftest import LiveApi
from tests.integration.serving.conftest import ServerThread
from tests.integration.serving.models import Models, classifier
from tests.integration.serving.odd_requests import (
    ANY_QUERY,
    CONTENT_TYPES,
    CREDENTIALS,
    FRAMES,
    HEADER_FIELDS,
    PATH_PARTS,
    REQUEST_LINES,
    Asked,
    asked,
    odd_bodies,
    odd_values,
)
from tests.integration.serving.raw_http import RawAnswer, RawClient
from tests.integration.serving.standing import Scenario, prepare, serving

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_HIDDEN = ("/docs", "/sign-in", "/sign-out", "/metrics", "/openapi.json")
"""Paths of the api that its document leaves out."""

_WITH_HEADERS = frozenset(
    {
        "models_policy_put", "training_runs_create", "feedback_upload", "serving_snapshot", "jobs_events",
        "sessions_get", "predict", "invocations",
    }
)  # fmt: skip
"""Those that read a header field themselves, or stand for others of their kind."""
_OFTEN = 2
"""A parameter of one name is read the same way everywhere: so many operations stand for all."""


class Findings:
    """Asks, and keeps what should not have been answered."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.wrong: list[tuple[str, int, bytes]] = []
        self._seen: Counter[str] = Counter()

    def is_new(self, parameter: str) -> bool:
        self._seen[parameter] += 1
        return self._seen[parameter] <= _OFTEN

    def ask(self, what: str, line: str, *fields: str | bytes, body: bytes = b"") -> None:
        self.judge(what, self.client.request(line, *fields, body=body))

    def judge(self, what: str, answer: RawAnswer) -> None:
        if not 200 <= answer.status < 500 or (answer.status >= 400 and not answer.is_problem):
            self.wrong.append((what[:120], answer.status, answer.body[:200]))


def _try_paths(findings: Findings, operation: Asked) -> None:
    fields, body = operation.content_type, operation.body
    for name in operation.path:
        for part in PATH_PARTS if findings.is_new(f"path {name}") else ():
            line = f"{operation.method} {operation.target(**{name: part})}"
            findings.ask(f"{operation.name} {name}={part}", line, *fields, body=body)
    target = operation.target(**dict.fromkeys(operation.path, "none"))
    for odd in (f"{target}/", f"/{target}", target.replace("/", "//"), f"{target}%2F", f"{target};x", f"{target}:none"):
        findings.ask(f"{operation.name} {odd}", f"{operation.method} {odd}", *fields, body=body)


def _try_queries(findings: Findings, operation: Asked) -> None:
    line = f"{operation.method} {operation.target()}"
    names = [name for name in operation.query if findings.is_new(f"query {name}")]
    odd = [f"{name}={value}" for name in names for value in odd_values(operation.query[name])]
    odd += [f"{name}=1&{name}=2" for name in names]
    odd += ANY_QUERY if names else ANY_QUERY[:1]
    for query in odd:
        text = f"{line}?{operation.needed}&{query}"
        findings.ask(f"{operation.name} ?{query}", text, *operation.content_type, body=operation.body)


def _try_headers(findings: Findings, operation: Asked) -> None:
    line = f"{operation.method} {operation.target()}"
    for field in HEADER_FIELDS:
        findings.ask(f"{operation.name} {field!r}", line, *operation.content_type, field, body=operation.body)
    for media_type in CONTENT_TYPES if operation.content_type else ():
        field = b"Content-Type: " + (media_type if isinstance(media_type, bytes) else media_type.encode())
        findings.ask(f"{operation.name} {field!r}", line, field, body=operation.body)


def _try_bodies(findings: Findings, operation: Asked) -> None:
    line = f"{operation.method} {operation.target()}"
    for body in odd_bodies(operation) if operation.content_type else ():
        findings.ask(f"{operation.name} {body[:100]!r}", line, *operation.content_type, body=body)


def _try_frames(findings: Findings, path: str) -> None:
    client = findings.client
    head = [b"POST " + path.encode() + b" HTTP/1.1", b"Host: here", b"Connection: close", client.authorization]
    for frame in FRAMES:
        content = b"\r\n".join([*head, b"Content-Type: application/json", *frame.fields]) + b"\r\n\r\n" + frame.body
        answer = client.send(content)
        findings.judge(frame.name, answer)
        if answer.status not in frame.statuses:
            findings.wrong.append((frame.name, answer.status, answer.body[:200]))
    for first in REQUEST_LINES:
        findings.judge(repr(first), client.send(first + b"\r\nHost: here\r\nConnection: close\r\n\r\n"))
    for credentials in CREDENTIALS:
        fields = [head[0], *head[1:3], b"Authorization: " + credentials, b"Content-Length: 2"]
        answer = client.send(b"\r\n".join(fields) + b"\r\n\r\n{}")
        if answer.status != 401 or "www-authenticate" not in answer.headers:
            findings.wrong.append((repr(credentials), answer.status, answer.body[:200]))


def _wrong(
    client: RawClient, document: dict[str, Any], scenario: Scenario, framed: str
) -> list[tuple[str, int, bytes]]:
    """``framed``: a path that takes JSON."""
    findings = Findings(client)
    for operation in asked(document, scenario):
        _try_paths(findings, operation)
        if operation.takes_away:
            continue
        _try_queries(findings, operation)
        _try_bodies(findings, operation)
        if operation.name in _WITH_HEADERS:
            _try_headers(findings, operation)
    _try_frames(findings, framed)
    findings.ask("after all that", "GET /readyz")
    return findings.wrong


async def test_the_api_answers_whatever_is_sent(live_api: LiveApi, control: httpx.AsyncClient, models: Models) -> None:
    scenario = await prepare(control, models)
    document = (await control.get("/openapi.json")).json()
    client = RawClient(live_api.url, live_api.key)
    assert await asyncio.to_thread(_wrong, client, document, scenario, "/api/v1/feedback") == []


async def test_the_model_server_answers_whatever_is_sent(
    server: ServerThread, control: httpx.AsyncClient, models: Models
) -> None:
    await models.register("wealth", classifier())
    (await control.put("/api/v1/deployments/wealth", json={"model": "wealth:1"})).raise_for_status()
    await server.start()
    await server.until_serving("wealth", 1)
    async with server.client() as http:
        document = (await http.get("/openapi.json")).json()
        await _ask_for_all_methods(http, document)
    client = RawClient(server.url, server.predict_key)
    path = "/api/v1/deployments/wealth/predict"
    assert await asyncio.to_thread(_wrong, client, document, serving({}), path) == []


async def _ask_for_all_methods(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    for template, operations in document["paths"].items():
        own = {method.upper() for method in operations}
        for method in set(_METHODS) - own:
            answer = await client.request(method, template.replace("{", "").replace("}", ""))
            allowed = set(answer.headers.get("allow", "").split(", "))
            assert (answer.status_code, allowed) == (405, own), f"{method} {template}"
            assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


async def test_the_api_refuses_other_methods_and_names_its_own(api: httpx.AsyncClient) -> None:
    await _ask_for_all_methods(api, (await api.get("/openapi.json")).json())
    for path in _HIDDEN:
        refused = await api.patch(path)
        assert refused.status_code == 405, path
        for method in refused.headers["allow"].split(", "):
            assert (await api.request(method, path)).status_code < 405, f"{method} {path}"


async def test_an_escaped_slash_leads_to_no_other_route(api: httpx.AsyncClient, models: Models) -> None:
    await models.register("wealth", classifier())
    assert (await api.get("/api/v1/models/wealth/policy")).status_code == 200
    for path in ("/api/v1/models/wealth%2Fpolicy", "/api/v1%2fmodels/wealth/policy"):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found"), path


@pytest.mark.parametrize(
    ("tags", "status"),
    [("*", 200), ('"1"', 200), ('"0", "1"', 200), ('W/"1"', 412), ('"2"', 412), ("1", 412), ("", 412), ('"11"', 412)],
)
async def test_a_policy_is_replaced_if_one_of_the_tags_is_its_own(
    api: httpx.AsyncClient, models: Models, tags: str, status: int
) -> None:
    await models.register("wealth", classifier())
    before = await api.get("/api/v1/models/wealth/policy")
    assert before.headers["etag"] == '"1"'
    answer = await api.put("/api/v1/models/wealth/policy", json={}, headers={"If-Match": tags})
    assert answer.status_code == status, answer.text


async def test_a_snapshot_is_not_sent_again_to_who_names_its_tag_among_others(api: httpx.AsyncClient) -> None:
    tag = (await api.get("/api/v1/serving/snapshot")).headers["etag"]
    for named, status in ((f'"other", W/{tag}', 304), (tag, 304), ("*", 304), ('"other"', 200)):
        answer = await api.get("/api/v1/serving/snapshot", headers={"If-None-Match": named})
        assert (answer.status_code, answer.headers["etag"]) == (status, tag), named
