"""Every route of both servers: the key first, then the body."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Message

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.api.app import create_app
from tidemill.auth.access import RequiredScope
from tidemill.auth.keys import read_token
from tidemill.auth.lanes import CallerLanes
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key, revoke_key
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.keys import ApiKey, IdempotencyKey
from tidemill.deps import ApiServices, Standing, authenticator
from tidemill.deps.access import RECHECK_SECONDS
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Forbidden, Unauthenticated, Unavailable
from tidemill.model_server.main import ModelServer
from tidemill.model_server.main import create_app as create_model_server
from tidemill.schemas.serving import KeySpec
from tidemill.settings.model import ModelServerSettings, Settings
from tidemill.web.metrics import create_registry
from tidemill.web.routing import RouteTable

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DOCUMENTATION = {"/docs", "/openapi.json", "/swagger/start.js", "/swagger/swagger-ui-bundle.js",
                  "/swagger/swagger-ui.css", "/swagger/favicon-32x32.png"}  # fmt: skip
_HEALTH = {"/livez", "/readyz", "/metrics"}


def made_up_token(number: int = 0) -> str:
    """Well-formed, with the right checksum, and nobody's."""
    body = f"tm_test_{number:032x}_{'B' * 32}"
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = _LETTERS[digit] + digits
    return body + digits


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    read_bytes: int = 0


async def call(app: FastAPI, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """A request with 14 MiB of JSON, of which the answer says how much was read."""
    answer = Answer()
    piece = b'[{"a":[]},' * (1 << 16)

    async def receive() -> Message:
        answer.read_bytes += len(piece)
        return {"type": "http.request", "body": piece, "more_body": answer.read_bytes < 14 << 20}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        answer.body += message.get("body", b"")

    sent = {"host": "x", "content-type": "application/json", "content-length": str(14 << 20)} | dict(headers)
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    await app(scope, receive, send)
    return answer


def guarded(app: FastAPI) -> Iterator[tuple[str, str, Scope]]:
    """Method, path and scope of every route that wants a key."""
    for route in RouteTable(app.routes):
        needed = [guard.scope for guard in route.calls if isinstance(guard, RequiredScope)]
        for method in sorted(route.methods) if needed else ():
            yield method, route.path.replace("{", "x").replace("}", "x"), needed[0]


@dataclass
class Callers:
    """Keys by what is wrong with them."""

    refused: dict[str, str]
    predicting: str
    reading: str


@pytest.fixture
async def callers(sessions: SessionFactory) -> Callers:
    async with transaction(sessions) as session:
        made = {}
        for name, scope in (("revoked", Scope.ADMIN), ("expired", Scope.ADMIN), ("predicting", Scope.PREDICT),
                            ("reading", Scope.JOBS_READ)):  # fmt: skip
            made[name] = (await create_key(session, NewKey(name, [scope]), "test", None))[1]
        await revoke_key(
            session, read_token(made["revoked"]).key_id, Principal("key_0", "admin", frozenset({Scope.ADMIN}))
        )
        expired = await session.get_one(ApiKey, read_token(made["expired"]).key_id)
        expired.expires_at = utc_now() - timedelta(seconds=1)
    refused = {"unknown": made_up_token(), "revoked": made["revoked"], "expired": made["expired"]}
    return Callers(refused, made["predicting"], made["reading"])


@pytest.fixture
def api_app(settings: Settings, sessions: SessionFactory, store: ObjectStore, mlflow: MlflowRest) -> FastAPI:
    return create_app(ApiServices(settings, sessions, store, mlflow, create_registry()))


@pytest.fixture
async def model_server_app(callers: Callers, tmp_path: Path, sessions: SessionFactory) -> AsyncIterator[FastAPI]:
    """It knows the keys as a snapshot has them, an expired one included that was valid when that was made."""
    own = ModelServerSettings(key=made_up_token(), state_dir=tmp_path / "state")  # type: ignore[arg-type]
    server = ModelServer(own, "test")
    async with transaction(sessions) as session:
        keys = await session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None)))
        server.serving.keys.replace(
            [KeySpec(id=k.id, secret_sha256=k.secret_sha256, scopes=k.scopes, expires_at=k.expires_at) for k in keys]
        )
    yield create_model_server(server, Settings(environment="test", model_server=own))
    await server._close()


@pytest.fixture(params=["api", "model server"])
def app(request: pytest.FixtureRequest) -> FastAPI:
    name = {"api": "api_app", "model server": "model_server_app"}[request.param]
    found = request.getfixturevalue(name)
    assert isinstance(found, FastAPI)
    return found


def test_only_health_documentation_and_sign_in_are_public(api_app: FastAPI, model_server_app: FastAPI) -> None:
    found = [{route.path for route in RouteTable(app.routes)} for app in (api_app, model_server_app)]
    wanting = [{path for _, path, _ in guarded(app)} for app in (api_app, model_server_app)]
    public = [
        {path for path in paths if path.replace("{", "x").replace("}", "x") not in guarded_paths}
        for paths, guarded_paths in zip(found, wanting, strict=True)
    ]
    # The session asks for its cookie or key itself, and reads no body.
    assert public[0] == _HEALTH | _DOCUMENTATION | {"/sign-in", "/sign-out", "/api/v1/session"}
    assert public[1] == _HEALTH | _DOCUMENTATION | {"/ping", "/health", "/version"}


@pytest.mark.parametrize("idempotency", [{}, {"idempotency-key": "once"}], ids=["", "with an Idempotency-Key"])
async def test_a_key_that_is_none_gets_401_before_the_body_on_every_route(
    app: FastAPI, callers: Callers, sessions: SessionFactory, idempotency: dict[str, str]
) -> None:
    routes = list(guarded(app))
    assert routes
    for why, token in callers.refused.items():
        for method, path, _ in routes:
            answer = await call(app, method, path, {"authorization": f"Bearer {token}"} | idempotency)
            assert (answer.status, answer.read_bytes) == (401, 0), f"{why}: {method} {path}"
            assert answer.headers["content-type"] == "application/problem+json"
    async with transaction(sessions) as session:
        assert await session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0


async def test_a_key_without_the_scope_gets_403_before_the_body_on_every_route(
    app: FastAPI, callers: Callers, sessions: SessionFactory
) -> None:
    for method, path, needed in guarded(app):
        token = callers.reading if needed is Scope.PREDICT else callers.predicting
        answer = await call(app, method, path, {"authorization": f"Bearer {token}", "idempotency-key": "once"})
        assert (answer.status, answer.read_bytes) == (403, 0), f"{method} {path}"
    async with transaction(sessions) as session:
        assert await session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/models/x:nothing", "/api/v1/keys/"])
async def test_no_body_is_read_for_a_path_that_is_none(app: FastAPI, path: str) -> None:
    answer = await call(app, "POST", path, {"idempotency-key": "once"})
    assert (answer.status, answer.read_bytes) == (404, 0)


async def test_no_body_is_read_for_a_method_that_the_path_does_not_take(app: FastAPI) -> None:
    for route in RouteTable(app.routes):
        path = route.path.replace("{", "x").replace("}", "x")
        answer = await call(app, "PATCH", path, {"idempotency-key": "once"})
        assert (answer.status, answer.read_bytes) == (405, 0), path
        assert set(answer.headers["allow"].split(", ")) >= route.methods


async def test_the_allowed_methods_of_a_path_are_all_named(api_app: FastAPI) -> None:
    assert (await call(api_app, "PATCH", "/api/v1/deployments/x", {})).headers["allow"] == "DELETE, GET, PUT"
    promote = await call(api_app, "GET", "/api/v1/models/x:promote", {})
    assert (promote.status, promote.headers["allow"]) == (405, "POST")


async def test_a_form_that_is_read_without_a_key_is_small(api_app: FastAPI) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await call(api_app, "POST", "/sign-in", form)
    assert (answer.status, answer.read_bytes) == (413, 0)


async def test_a_revoked_key_gets_no_stored_answer(api: httpx.AsyncClient) -> None:
    created = (await api.post("/api/v1/keys", json={"name": "ci", "scopes": ["models:write"]})).json()
    own = {"authorization": f"Bearer {created['token']}", "idempotency-key": "once"}
    body = {"run_id": "a" * 32}
    first = await api.post("/api/v1/models/m/versions:import", json=body, headers=own)
    again = await api.post("/api/v1/models/m/versions:import", json=body, headers=own)
    assert (first.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    await api.post(f"/api/v1/keys/{created['id']}:revoke")
    refused = await api.post("/api/v1/models/m/versions:import", json=body, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (401, "key_rejected")


async def test_a_flood_of_unknown_keys_leaves_the_database_to_those_who_are_known(
    engine: AsyncEngine, sessions: SessionFactory, callers: Callers
) -> None:
    held, most = 0, 0

    @event.listens_for(engine.sync_engine, "checkout")
    def _out(*_: object) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)

    @event.listens_for(engine.sync_engine, "checkin")
    def _in(*_: object) -> None:
        nonlocal held
        held -= 1

    authenticate = authenticator(sessions, CallerLanes(at_once=2, waiting=20), "test")
    await authenticate(f"Bearer {callers.predicting}")
    flood = [asyncio.create_task(authenticate(f"Bearer {made_up_token(number)}")) for number in range(100)]
    await asyncio.sleep(0)
    assert (await authenticate(f"Bearer {callers.predicting}")).name == "predicting"
    outcomes = [type(outcome) for outcome in await asyncio.gather(*flood, return_exceptions=True)]
    assert (outcomes.count(Unauthenticated), outcomes.count(Unavailable)) == (22, 78)
    assert most <= 3, "two for strangers, one for the known caller"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("UPDATE api_keys SET revoked_at = now()", Unauthenticated),
        ("UPDATE api_keys SET expires_at = now() - interval '1 second'", Unauthenticated),
        ("UPDATE api_keys SET scopes = '[\"predict\"]'", Forbidden),
    ],
)
async def test_what_lasts_ends_once_its_key_no_longer_holds(
    sessions: SessionFactory, callers: Callers, change: str, error: type[Exception]
) -> None:
    principal = await authenticator(sessions, CallerLanes(), "test")(f"Bearer {callers.reading}")
    now = 1000.0
    standing = Standing(sessions, principal, Scope.JOBS_READ, clock=lambda: now)

    async def pieces() -> AsyncIterator[int]:
        nonlocal now
        for number in range(10):
            now += RECHECK_SECONDS
            if number == 5:
                async with transaction(sessions) as session:
                    await session.execute(text(change))
            yield number

    held = standing.holding(pieces())
    assert [await anext(held) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(error):
        await anext(held)
