"""MLflow and Grafana behind the real api's sign-in."""

import base64
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.edge.conftest import MakeEdge
from tests.edge.nginx import Edge
from tests.edge.test_limits import raw
from tests.edge.upstreams import Seen, Upstream
from tests.integration.conftest import LiveApi, MakeKey
from tidemill.auth.scopes import Scope

PAGE = {"Accept": "text/html,application/xhtml+xml"}
COOKIE = "__Host-tidemill-session"


@pytest.fixture
def edge(make_edge: MakeEdge, live_api: LiveApi) -> Edge:
    """In front of the real api."""
    return make_edge(API=live_api.url.removeprefix("http://"), SIGN_IN_RATE="100r/s")


@pytest.fixture
async def browser(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=edge.url, verify=edge.trust(), timeout=30) as client:
        yield client


@pytest.fixture
def mlflow_behind(services: dict[str, list[Upstream]]) -> Iterator[Upstream]:
    yield services["mlflow"][0]
    services["mlflow"][0].forget()


@pytest.fixture
def grafana_behind(services: dict[str, list[Upstream]]) -> Iterator[Upstream]:
    yield services["grafana"][0]
    services["grafana"][0].forget()


async def sign_in(browser: httpx.AsyncClient, key: str, back_to: str) -> httpx.Response:
    page = await browser.get(back_to, headers=PAGE)
    assert page.status_code == 302
    form = await browser.get(page.headers["location"])
    assert 'type="password"' in form.text
    headers = {"Origin": str(browser.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    return await browser.post("/sign-in", data={"key": key, "next": back_to}, headers=headers)


async def test_a_person_is_led_to_the_sign_in_and_back(
    browser: httpx.AsyncClient, mlflow_behind: Upstream, make_key: MakeKey
) -> None:
    asked = "/mlflow/some/page?a=1&b=%26"
    answer = await sign_in(browser, await make_key(Scope.MLFLOW_READ), asked)
    assert (answer.status_code, answer.headers["location"]) == (303, asked)
    browser.cookies.set("other", "kept", domain="localhost.local")
    assert (await browser.get(asked, headers={"Authorization": ""})).status_code in (200, 401)
    mlflow_behind.forget()
    assert (await browser.get(asked)).status_code == 200
    (seen,) = mlflow_behind.seen
    assert seen.target == "/some/page?a=1&b=%26"
    assert COOKIE not in str(seen.headers)
    assert seen.headers["x-tidemill-principal"].startswith("key_")
    assert seen.headers["host"].startswith("mlflow.test:")
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    await browser.post("/sign-out")
    assert (await browser.get(asked, headers=PAGE)).status_code == 302
    assert len(mlflow_behind.seen) == 1


async def test_a_program_sends_a_key_that_nobody_behind_sees(
    browser: httpx.AsyncClient, mlflow_behind: Upstream, make_key: MakeKey
) -> None:
    key = await make_key(Scope.MLFLOW_WRITE)
    basic = base64.b64encode(f"ana:{key}".encode()).decode()
    for value in (f"Bearer {key}", f"Basic {basic}"):
        answer = await browser.post("/mlflow/api/2.0/mlflow/runs/create", json={}, headers={"Authorization": value})
        assert answer.status_code == 200
    assert [seen.target for seen in mlflow_behind.seen] == ["/api/2.0/mlflow/runs/create"] * 2
    assert not [seen for seen in mlflow_behind.seen if key in str(seen.headers)]
    assert {seen.headers["authorization"] for seen in mlflow_behind.seen} == {"Bearer none"}  # the edge's own token
    assert {seen.headers["x-tidemill-access"] for seen in mlflow_behind.seen} == {"write"}
    refused = await browser.get("/mlflow/api/2.0/mlflow/experiments/search")
    assert (refused.status_code, refused.json()["code"]) == (401, "key_missing")
    assert "Basic" in refused.headers["www-authenticate"]
    wrong = await browser.get("/mlflow/", headers={"Authorization": "Bearer tm_x"})
    assert wrong.status_code == 401
    assert len(mlflow_behind.seen) == 2


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", "/mlflow/", True),
        ("POST", "/mlflow/ajax-api/2.0/mlflow/runs/search", True),
        ("POST", "/mlflow/api/2.0/mlflow/experiments/search?max_results=1", True),
        ("POST", "/mlflow/graphql", True),
        ("POST", "/mlflow/api/2.0/mlflow/runs/delete", False),
        ("POST", "/mlflow/api/2.0/mlflow/runs/delete?x=/search", False),
        ("POST", "/mlflow/api/2.0/mlflow/runs/delete#/search", False),
        ("POST", "/mlflow/api/2.0/mlflow/x/search/../../runs/delete", False),
        ("POST", "/mlflow/api/2.0/mlflow/runs/delete%0a/search", False),
        ("POST", "/mlflow/api/2.0/mlflow/runs/search%0a", False),
        ("DELETE", "/mlflow/api/2.0/mlflow/runs/search", False),
        ("PUT", "/mlflow/api/2.0/mlflow-artifacts/artifacts/search", False),
    ],
)
async def test_who_may_read_mlflow_cannot_write(
    edge: Edge, mlflow_behind: Upstream, make_key: MakeKey, method: str, target: str, allowed: bool
) -> None:
    key = await make_key(Scope.MLFLOW_READ)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 0\r\n\r\n"
    with raw(edge) as connection:
        connection.sendall(head.encode())
        status = connection.recv(4096).split(b" ")[1]
    assert status == (b"200" if allowed else b"403")
    assert len(mlflow_behind.seen) == int(allowed)


async def test_grafana_is_told_who_it_is_and_nobody_else_can_tell_it(
    browser: httpx.AsyncClient, grafana_behind: Upstream, make_key: MakeKey
) -> None:
    answer = await sign_in(browser, await make_key(Scope.DASHBOARDS_READ), "/grafana/d/overview?orgId=1")
    assert answer.status_code == 303
    forged = {"X-Tidemill-Principal": "key_admin", "X-Tidemill-Role": "Admin", "X-Tidemill-Name": "root"}
    browser.cookies.set("grafana_preferences", "dark", domain="localhost.local")
    assert (await browser.get("/grafana/d/overview?orgId=1", headers=forged)).status_code == 200
    (seen,) = grafana_behind.seen
    assert seen.target == "/grafana/d/overview?orgId=1"
    assert (seen.headers["x-tidemill-role"], seen.headers["x-tidemill-name"]) == ("Viewer", "test")
    assert seen.headers["x-tidemill-principal"] != "key_admin"
    assert seen.headers["cookie"] == "grafana_preferences=dark"
    assert (await browser.get("/mlflow/", headers=PAGE)).status_code == 403


async def test_live_panels_get_their_websocket(edge: Edge, grafana_behind: Upstream, make_key: MakeKey) -> None:
    key = await make_key(Scope.DASHBOARDS_READ)
    with raw(edge) as connection:
        connection.sendall(
            f"GET /grafana/api/live/ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
    (seen,) = grafana_behind.seen
    assert (seen.headers["upgrade"], seen.headers["connection"]) == ("websocket", "upgrade")


async def test_another_sites_page_cannot_write_with_the_cookie(
    browser: httpx.AsyncClient, mlflow_behind: Upstream, make_key: MakeKey
) -> None:
    await sign_in(browser, await make_key(), "/mlflow/")
    write = "/mlflow/ajax-api/2.0/mlflow/runs/delete"
    foreign = await browser.post(write, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    own = str(browser.base_url).rstrip("/")
    answer = await browser.post(write, headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    seen: Seen = mlflow_behind.seen[-1]
    assert "origin" not in seen.headers, "MLflow takes it for a foreign one"
    assert len(mlflow_behind.seen) == 1


async def test_without_the_api_the_consoles_stay_closed(
    make_edge: MakeEdge, mlflow_behind: Upstream, services: dict[str, list[Upstream]]
) -> None:
    edge = make_edge(API="127.0.0.1:9")
    with edge.client() as client:
        answer = client.get("/mlflow/", headers=PAGE)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert not mlflow_behind.seen
