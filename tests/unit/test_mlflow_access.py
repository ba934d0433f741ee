"""MLflow's keys: who is asked, what is kept, what passes; and that Nginx decides alike."""

import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tidemill.auth.keys import generate_token
from tidemill.features.sessions.access import Access
from tidemill.kit import ids
from tidemill.kit.errors import Unauthenticated, Unavailable
from tidemill.platform.mlflow_access import READ_POSTS, AccessRules, KeysOfApi, MlflowAccessMiddleware, access_to

OWN = "token-of-the-platform"
RULES = AccessRules(OWN, "http://api", "test")
NGINX = Path(__file__).parents[2] / "deploy/nginx/templates/10-requests.conf.template"
Message = MutableMapping[str, Any]


class Api:
    """Answers the question about keys by the rules it is given, and counts."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.asked: list[httpx.URL] = []
        self.http = httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        return httpx.Response(self.status)


class Behind:
    """What MLflow saw."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    async def __call__(self, scope: Message, _receive: Any, send: Any) -> None:
        self.seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def key(environment: str = "test") -> str:
    return generate_token(environment, ids.new_id(ids.KEY))


async def ask(
    app: MlflowAccessMiddleware, *headers: tuple[str, str], method: str = "PUT", path: str = "/api/x"
) -> tuple[int, int]:
    """The status, and how often the body was asked for."""
    reads, sent = 0, []

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
    await app(scope, receive, send)
    return sent[0]["status"], reads


@pytest.mark.parametrize(
    ("headers", "api_says", "status"),
    [
        ([], 204, 401),
        ([("Authorization", "Bearer")], 204, 401),
        ([("Authorization", "Bearer tm_x")], 204, 401),
        ([("Authorization", f"Bearer {OWN}x")], 204, 401),
        ([("Authorization", f"Bearer {key('production')}")], 204, 401),
        ([("Authorization", f"Bearer {OWN}"), ("Authorization", f"Bearer {key()}")], 204, 401),
        ([("Authorization", f"Bearer {key()}")], 401, 401),
        ([("Authorization", f"Bearer {key()}")], 403, 403),
        ([("Authorization", f"Bearer {key()}")], 500, 503),
        ([("Authorization", f"Bearer {key()}"), ("Origin", "https://elsewhere")], 204, 403),
        ([("Authorization", f"Bearer {key()}"), ("Origin", "http://[")], 204, 403),
        ([("Authorization", f"Bearer {OWN}"), ("X-Tidemill-Access", "read")], 204, 403),
        ([("Authorization", f"Bearer {OWN}"), ("Host", "\xe9")], 204, 400),
        ([("Authorization", "Basic \xe9")], 204, 401),
    ],
)
async def test_who_may_not_is_refused_with_the_body_unread(
    headers: list[tuple[str, str]], api_says: int, status: int
) -> None:
    behind = Behind()
    app = MlflowAccessMiddleware(behind, RULES, Api(api_says).http)
    assert await ask(app, *headers) == (status, 0)
    assert behind.seen == []


async def test_mlflow_sees_neither_key_nor_token() -> None:
    behind, api = Behind(), Api()
    app = MlflowAccessMiddleware(behind, RULES, api.http)
    for token in (OWN, key()):
        sent = (("Authorization", f"Bearer {token}"), ("X-Tidemill-Access", "write"), ("X-Other", "kept"))
        assert (await ask(app, *sent))[0] == 200
    assert [scope["headers"] for scope in behind.seen] == [[(b"x-other", b"kept")]] * 2
    assert [url.params["access"] for url in api.asked] == ["write"], "the platform's own token asks nobody"


async def test_health_is_open_and_nothing_else() -> None:
    app = MlflowAccessMiddleware(Behind(), RULES, Api().http)
    assert (await ask(app, method="GET", path="/health"))[0] == 200
    for path in ("/healthz", "/health/", "//health", "/health/../api", "/version", "/metrics", "/"):
        assert (await ask(app, method="GET", path=path))[0] == 401, path


async def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await MlflowAccessMiddleware(Behind(), RULES, Api().http)({"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_an_answer_is_kept_for_one_kind_of_access_and_keys_are_forgotten_in_turn() -> None:
    api = Api()
    keys = KeysOfApi(RULES, api.http)
    first = key()
    for _ in range(3):
        await keys.require(first, Access.READ)
    await keys.require(first, Access.WRITE)
    assert len(api.asked) == 2
    for _ in range(1100):
        await keys.require(key(), Access.READ)
    assert len(keys._kept) == 1024


async def test_an_api_that_is_away_is_no_verdict() -> None:
    api = Api(503)
    keys, token = KeysOfApi(RULES, api.http), key()
    with pytest.raises(Unavailable):
        await keys.require(token, Access.READ)
    api.status = 204
    await keys.require(token, Access.READ)
    api.status = 401
    with pytest.raises(Unauthenticated):
        await keys.require(key(), Access.READ)


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("GET", "/api/2.0/mlflow/runs/get", Access.READ),
        ("GET", "/", Access.READ),
        ("POST", "/api/2.0/mlflow/runs/search", Access.READ),
        ("POST", "/ajax-api/3.0/mlflow/traces/search", Access.READ),
        ("POST", "/ajax-api/2.0mlflow/experiments/search-datasets", Access.READ),
        ("POST", "/graphql", Access.READ),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy", Access.WRITE),
        ("POST", "/api/2.0/mlflow/runs/search/", Access.WRITE),
        ("POST", "/api/2.0/mlflow/runs/search\n", Access.WRITE),
        ("POST", "/x/api/2.0/mlflow/runs/search", Access.WRITE),
        ("POST", "/api/2.0/mlflow/runs/create", Access.WRITE),
        ("POST", "/v1/traces", Access.WRITE),
        ("PUT", "/api/2.0/mlflow/runs/search", Access.WRITE),
        ("TRACE", "/", Access.WRITE),
    ],
)
def test_everything_but_a_closed_list_is_a_write(method: str, path: str, access: Access) -> None:
    assert access_to(method, path) is access


def test_nginx_has_the_same_list_of_reads() -> None:
    (listed,) = re.findall(r'POST /mlflow/\(ajax-\)\?api/\[0-9\.\]\+/\?mlflow/\((.*)\)\\z" read;', NGINX.read_text())
    assert listed.split("|") == list(READ_POSTS)
