"""Signing in with an API key, and what the proxy is told about who asks."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.integration.conftest import MakeKey
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey
from tidemill.db.tables.sessions import Session
from tidemill.kit.clock import utc_now

COOKIE = "__Host-tidemill-session"
ORIGIN = "https://platform"


@pytest.fixture
async def browser(anonymous_api: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Keeps cookies, as over HTTPS."""
    async with httpx.AsyncClient(transport=anonymous_api._transport, base_url=ORIGIN) as client:
        yield client


async def sign_in(browser: httpx.AsyncClient, key: str, back_to: str | None = None) -> httpx.Response:
    form = {"key": key} | ({"next": back_to} if back_to is not None else {})
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    return await browser.post("/sign-in", data=form, headers=headers)


async def test_a_key_begins_a_session_that_sign_out_ends(browser: httpx.AsyncClient, make_key: MakeKey) -> None:
    assert (await browser.get("/api/v1/session")).status_code == 401
    answer = await sign_in(browser, f" {await make_key(Scope.MLFLOW_READ)}\n", "/mlflow/?a=1&b=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/mlflow/?a=1&b=2")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
    assert "Domain" not in cookie
    known = await browser.get("/api/v1/session", params={"area": "mlflow"})
    assert (known.status_code, known.headers["x-tidemill-role"]) == (204, "Viewer")
    assert known.headers["x-tidemill-principal"].startswith("key_")
    assert known.headers["x-tidemill-name"] == "test"
    assert "Signed in as test" in (await browser.get("/sign-in")).text
    stolen = browser.cookies[COOKIE]
    assert (await browser.post("/sign-out", headers={"Origin": ORIGIN})).status_code == 303
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, stolen, domain="platform")
    assert (await browser.get("/api/v1/session")).status_code == 401


async def test_a_key_in_the_header_does_without_a_session(browser: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key(Scope.MLFLOW_READ)
    basic = base64.b64encode(f"anyone:{key}".encode()).decode()
    for value in (f"Bearer {key}", f"Basic {basic}"):
        answer = await browser.get("/api/v1/session?area=mlflow", headers={"Authorization": value})
        assert answer.status_code == 204
    assert (await browser.get("/api/v1/session", headers={"Authorization": "Bearer x"})).status_code == 401


@pytest.mark.parametrize(
    ("scope", "answers", "role"),
    [
        (Scope.MLFLOW_READ, (204, 403, 403), None),
        (Scope.MLFLOW_WRITE, (204, 204, 403), None),
        (Scope.DASHBOARDS_READ, (403, 403, 204), "Viewer"),
        (Scope.DASHBOARDS_WRITE, (403, 403, 204), "Editor"),
        (Scope.ADMIN, (204, 204, 204), "Admin"),
        (Scope.PREDICT, (403, 403, 403), None),
    ],
)
async def test_scopes_open_consoles(
    browser: httpx.AsyncClient, make_key: MakeKey, scope: Scope, answers: tuple[int, ...], role: str | None
) -> None:
    headers = {"Authorization": f"Bearer {await make_key(scope)}"}
    asked = [("mlflow", "read"), ("mlflow", "write"), ("dashboards", "write")]
    given = [
        await browser.get("/api/v1/session", params={"area": area, "access": access}, headers=headers)
        for area, access in asked
    ]
    assert tuple(answer.status_code for answer in given) == answers
    assert given[-1].headers.get("x-tidemill-role") == role


async def test_revoking_the_key_ends_its_sessions(
    browser: httpx.AsyncClient, api: httpx.AsyncClient, make_key: MakeKey
) -> None:
    await sign_in(browser, await make_key(Scope.DASHBOARDS_READ))
    key_id = (await browser.get("/api/v1/session")).headers["x-tidemill-principal"]
    assert (await api.post(f"/api/v1/keys/{key_id}:revoke")).status_code == 200
    assert (await browser.get("/api/v1/session")).status_code == 401


@pytest.mark.parametrize("column", ["expires_at", "seen_at", "key"])
async def test_time_ends_a_session(
    browser: httpx.AsyncClient, make_key: MakeKey, sessions: SessionFactory, column: str
) -> None:
    await sign_in(browser, await make_key())
    assert (await browser.get("/api/v1/session")).status_code == 204
    past = utc_now() - timedelta(hours=1, seconds=1)
    async with transaction(sessions) as session:
        table, name = (ApiKey, "expires_at") if column == "key" else (Session, column)
        await session.execute(update(table).values({name: past}))
    assert (await browser.get("/api/v1/session")).status_code == 401
    assert "API key" in (await browser.get("/sign-in")).text


async def test_a_used_session_is_kept_awake(
    browser: httpx.AsyncClient, make_key: MakeKey, sessions: SessionFactory
) -> None:
    await sign_in(browser, await make_key())
    async with transaction(sessions) as session:
        await session.execute(update(Session).values(seen_at=utc_now() - timedelta(minutes=59)))
    assert (await browser.get("/api/v1/session")).status_code == 204
    async with transaction(sessions) as session:
        seen_at = await session.scalar(select(Session.seen_at))
    assert seen_at is not None
    assert utc_now() - seen_at < timedelta(minutes=1)


async def test_only_the_hash_of_the_token_is_kept_and_sessions_of_a_key_are_bounded(
    browser: httpx.AsyncClient, make_key: MakeKey, sessions: SessionFactory
) -> None:
    key = await make_key()
    tokens = []
    for _ in range(22):
        await sign_in(browser, key)
        tokens.append(browser.cookies[COOKIE])
    assert len(set(tokens)) == 22
    async with transaction(sessions) as session:
        kept = set(await session.scalars(select(Session.token_sha256)))
        assert await session.scalar(select(func.count()).select_from(Session)) == 20
    assert kept == {hashlib.sha256(token.encode()).hexdigest() for token in tokens[2:]}


async def test_a_wrong_key_is_told_on_the_page_and_never_echoed(browser: httpx.AsyncClient, make_key: MakeKey) -> None:
    for key in ("", "nonsense<script>", (await make_key())[:-1] + "!", "x" * 4000):
        answer = await sign_in(browser, key, "/mlflow/")
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert "nonsense" not in answer.text
        assert 'name="next" value="/mlflow/"' in answer.text
        assert "set-cookie" not in answer.headers
    refused = await sign_in(browser, await make_key(Scope.PREDICT))
    assert (refused.status_code, "mlflow:read" in refused.text) == (403, True)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)",
        "mlflow/", "\\\\evil.example", "/\r\nSet-Cookie: a=b", "/" + "a" * 2001, "", " /x", "https:/evil.example",
    ],
)  # fmt: skip
async def test_nobody_is_led_to_another_origin(browser: httpx.AsyncClient, make_key: MakeKey, target: str) -> None:
    page = await browser.get("/sign-in", params={"next": target})
    assert 'name="next"' not in page.text
    answer = await sign_in(browser, await make_key(), target)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    headers = {"X-Original-Uri": target.replace("\r\n", "")}
    if target.isascii() and target.isprintable() and not target.startswith(("/\r", "/Set")):
        browser.cookies.clear()
        unknown = await browser.get("/api/v1/session", headers=headers)
        assert unknown.headers["x-tidemill-sign-in"] == "/sign-in"


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "[", "//", "null", "http://a]b", "\xe9", ""])
async def test_an_odd_origin_is_a_foreign_one(browser: httpx.AsyncClient, make_key: MakeKey, origin: str) -> None:
    form, headers = {"key": await make_key()}, {"Origin": origin.encode("latin-1")}
    for path in ("/sign-in", "/sign-out"):
        assert (await browser.post(path, data=form, headers=headers)).status_code == 403  # type: ignore[arg-type]


async def test_the_way_back_survives_the_sign_in(browser: httpx.AsyncClient) -> None:
    asked = "/mlflow/?a=1&b=%2F%22#x"
    answer = await browser.get("/api/v1/session?area=mlflow", headers={"X-Original-Uri": asked})
    page = await browser.get(answer.headers["x-tidemill-sign-in"])
    assert 'value="/mlflow/?a=1&amp;b=%2F%22#x"' in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.platform"},
    ],
)  # fmt: skip
async def test_another_sites_page_can_neither_sign_in_nor_out_nor_write(
    browser: httpx.AsyncClient, make_key: MakeKey, headers: dict[str, str]
) -> None:
    key = await make_key()
    assert (await browser.post("/sign-in", data={"key": key}, headers=headers)).status_code == 403
    await sign_in(browser, key)
    assert (await browser.post("/sign-out", headers=headers)).status_code == 403
    write = await browser.get("/api/v1/session?area=mlflow&access=write", headers=headers)
    assert (write.status_code, write.json()["code"]) == (403, "foreign_origin")
    assert (await browser.get("/api/v1/session?area=mlflow&access=read", headers=headers)).status_code == 204
    assert (await browser.get("/api/v1/session?area=mlflow&access=write")).status_code == 204
    assert (await browser.get("/sign-out")).headers["location"] == "/sign-in"
    assert (await browser.get("/api/v1/session")).status_code == 204


async def test_a_cookie_opens_no_route_but_the_session(browser: httpx.AsyncClient, make_key: MakeKey) -> None:
    await sign_in(browser, await make_key())
    assert (await browser.get("/api/v1/keys")).status_code == 401


async def test_the_pages_allow_only_what_they_hold(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/sign-in")
    policy = page.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    assert "script" not in page.text
    assert not re.search(r"(src|href)=\"(?!/|data:)", page.text)
    assert page.headers["cache-control"] == "no-store"
    documentation = await browser.get("/docs")
    assert "script-src 'self';" in documentation.headers["content-security-policy"]
    assert not re.search(r"<script(?! src=\"/)", documentation.text)
    for asset in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", documentation.text):
        assert (await browser.get(asset)).status_code == 200
