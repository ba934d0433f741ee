"""Keys, scopes and the routes they guard."""

import base64
import itertools

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from tests.integration.conftest import MakeKey
from tidemill.auth.scopes import Scope
from tidemill.schemas.page import encode_token
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.metrics import create_registry

OPEN_ROUTES = {"/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/docs/oauth2-redirect"}


def _app(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    app = transport.app
    assert isinstance(app, FastAPI)
    return app


async def test_every_route_but_health_and_documentation_wants_a_key(anonymous_api: httpx.AsyncClient) -> None:
    document = _app(anonymous_api).openapi()
    for path, operations in document["paths"].items():
        if path in OPEN_ROUTES:
            continue
        for method in operations:
            response = await anonymous_api.request(method, path.replace("{", "x").replace("}", "x"))
            assert response.status_code == 401, f"{method} {path}"


async def test_every_route_has_an_operation_id_and_named_schemas(anonymous_api: httpx.AsyncClient) -> None:
    document = _app(anonymous_api).openapi()
    ids = [operation["operationId"] for ops in document["paths"].values() for operation in ops.values()]
    assert len(ids) == len(set(ids))
    routes = [route for route in _app(anonymous_api).routes if isinstance(route, APIRoute)]
    assert all(route.operation_id for route in routes if route.include_in_schema)
    assert not [name for name in document["components"]["schemas"] if name.startswith("Body_")]


async def test_a_missing_malformed_or_foreign_key_gets_401(anonymous_api: httpx.AsyncClient, make_key: MakeKey) -> None:
    token = await make_key()
    flipped = token[:-1] + ("0" if token[-1] != "0" else "1")
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {flipped}"}):
        response = await anonymous_api.get("/api/v1/keys", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", [None, "Bearer nonsense", "Basic bm9uc2Vuc2U="])
async def test_nobodys_body_is_looked_at_before_the_key(anonymous_api: httpx.AsyncClient, key: str | None) -> None:
    headers = {"content-type": "application/json", "idempotency-key": "k"} | ({"authorization": key} if key else {})
    response = await anonymous_api.post("/api/v1/keys", content=b"{not json", headers=headers)
    assert (response.status_code, response.json()["status"]) == (401, 401)


async def test_an_unexpected_error_is_told_under_the_id_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    router = APIRouter()

    @router.get("/broken", operation_id="broken")
    async def broken() -> None:
        raise RuntimeError("secret")

    app = create_web_app(WebConfig("Broken", create_registry(), max_body_bytes=1000), (router,))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://broken") as client:
        response = await client.get("/broken", headers={"x-request-id": "of-the-caller"})
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["x-request-id"] == response.json()["request_id"] == "of-the-caller"
    assert "secret" not in response.text
    assert "Unexpected error" in caplog.messages


async def test_basic_credentials_with_the_key_as_password_are_accepted(
    anonymous_api: httpx.AsyncClient, make_key: MakeKey
) -> None:
    credentials = base64.b64encode(f"mlflow:{await make_key()}".encode()).decode()
    response = await anonymous_api.get("/api/v1/keys", headers={"Authorization": f"Basic {credentials}"})
    assert response.status_code == 200


async def test_a_missing_scope_gets_403(anonymous_api: httpx.AsyncClient, make_key: MakeKey) -> None:
    token = await make_key(Scope.PREDICT)
    response = await anonymous_api.get("/api/v1/keys", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 403
    assert response.json()["code"] == "scope_missing"


async def test_a_key_lives_from_creation_to_revocation(api: httpx.AsyncClient) -> None:
    created = (await api.post("/api/v1/keys", json={"name": "ci", "scopes": ["keys:write"]})).json()
    own = {"Authorization": f"Bearer {created['token']}"}
    assert (await api.get("/api/v1/keys", headers=own)).status_code == 200
    listed = (await api.get("/api/v1/keys")).json()["items"]
    mine = next(key for key in listed if key["id"] == created["id"])
    assert mine["last_used_at"] is not None
    assert "token" not in mine
    assert (await api.post(f"/api/v1/keys/{created['id']}:revoke")).status_code == 200
    assert (await api.get("/api/v1/keys", headers=own)).status_code == 401
    again = await api.post(f"/api/v1/keys/{created['id']}:revoke")
    assert (again.status_code, again.json()["code"]) == (409, "key_already_revoked")


async def test_nobody_grants_more_than_they_hold(anonymous_api: httpx.AsyncClient, make_key: MakeKey) -> None:
    token = await make_key(Scope.KEYS_WRITE)
    body = {"name": "escalation", "scopes": ["admin"]}
    response = await anonymous_api.post("/api/v1/keys", json=body, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{not json", 400, "body_not_json"),
        (b'{"name": "x"}', 422, "request_invalid"),
        (b'{"name": "x", "scopes": ["nonsense"]}', 422, "scope_unknown"),
        (b'{"name": "x", "scopes": ["predict"], "typo": 1}', 422, "request_invalid"),
    ],
)
async def test_a_bad_body_is_told_by_place_and_never_echoed(
    api: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    response = await api.post("/api/v1/keys", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "nonsense" not in response.text


async def test_a_body_over_the_limit_gets_413_with_the_limit(api: httpx.AsyncClient) -> None:
    async def chunks() -> object:
        for _ in range(40):
            yield b"x" * 65536

    for content in (b"x" * (2 << 20), chunks()):
        response = await api.post("/api/v1/keys", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 413
        assert "1048576 bytes" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/jobs/%00", "value_unusable"),
        ("/api/v1/jobs?kind=%00", "value_unusable"),
        ("/api/v1/monitoring/reports/%00", "value_unusable"),
        (f"/api/v1/keys?page_token={encode_token([chr(0)])}", "value_unusable"),
        (f"/api/v1/keys?page_token={encode_token([7])}", "page_token_invalid"),
        (f"/api/v1/deployments/wealth/history?page_token={encode_token(['x'])}", "page_token_invalid"),
    ],
)
async def test_what_no_name_and_no_position_can_be_is_refused(api: httpx.AsyncClient, path: str, code: str) -> None:
    response = await api.get(path)
    assert (response.status_code, response.json()["code"]) == (422, code)


_LISTS = ["keys", "jobs", "datasets", "models", "deployments", "training-runs", "monitoring/reports",
          "predictions?deployment=x", "experiments/x/leaderboard", "deployments/x/history"]  # fmt: skip


_POSITIONS = [
    '["\\ud800"]', "[true]", "[Infinity]", "[NaN, NaN, NaN]", "[1e999, 1, 1e999]", f"[{2**70}]", '["\\ud800", "x"]',
     "[1, 2, Infinity]", '["0001-01-01T00:00:00+14:00", "x"]', "[" * 380 + "]" * 380]  # fmt: skip


async def test_a_forged_page_token_is_no_error_of_ours(api: httpx.AsyncClient) -> None:
    for path, position in itertools.product(_LISTS, _POSITIONS):
        token = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
        glue = "&" if "?" in path else "?"
        response = await api.get(f"/api/v1/{path}{glue}page_token={token}")
        assert response.status_code in (404, 422), (path, position)


_UNUSABLE = [
    ("PUT", "/api/v1/models/x/policy", b'{"baseline_margin": Infinity}'),
    ("PUT", "/api/v1/models/x/policy", b'{"baseline_margin": NaN}'),
    ("PUT", "/api/v1/models/x/policy", b'{"metric": "\\ud800"}'),
    ("POST", "/api/v1/models/x:rollback", b'{"reason": "\\u0000"}'),
    ("POST", "/api/v1/models/x:rollback", b'{"reason": ' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ("POST", "/api/v1/training-runs", b'{"dataset": "d", "target": "\\udfff"}'),
    ("POST", "/api/v1/training-runs", b'{"dataset": "d", "target": "t", "seed": true}'),
    ("POST", "/api/v1/keys", b'{"name": "k", "scopes": ["predict"], "expires_at": 4102444800}'),
    ("POST", "/api/v1/keys", b'{"name": "k", "scopes": ["\\ud800"]}'),
    ("POST", "/api/v1/feedback", b'{"items": [{"prediction_id": "prd_' + b"0" * 32 + b'", "truth": NaN}]}'),
    ("POST", "/api/v1/feedback", b'{"items": [{"prediction_id": "prd_' + b"0" * 32 + b'", "truth": "\\ud800"}]}'),
    ("POST", "/api/v1/feedback", b'{"items": [{"prediction_id": "prd_' + b"0" * 32 + b'", "truth": 1' + b"0" * 5000
     + b"}]}"),
    ("POST", "/api/v1/monitoring/reports", b'{"deployment": "x", "until": "0001-01-01T00:00:00Z"}'),
    ("POST", "/api/v1/monitoring/reports", b'{"deployment": "x", "since": "9999-12-31T23:59:59-01:00"}'),
    ("GET", "/api/v1/predictions?deployment=x&to=0001-01-01T00:00:00Z", b""),
    ("GET", "/api/v1/predictions?deployment=x&to=9999-12-31T23:59:59-14:00", b""),
    ("GET", "/api/v1/predictions?deployment=x&model_version=9223372036854775808", b""),
    ("GET", f"/api/v1/jobs/x/logs?after={2**64}", b""),
    ("GET", "/api/v1/models/x/aliases?at=5", b""),
]  # fmt: skip


async def test_what_json_can_write_and_nobody_can_use_is_refused(api: httpx.AsyncClient) -> None:
    for method, path, body in _UNUSABLE:
        response = await api.request(method, path, content=body, headers={"content-type": "application/json"})
        assert response.status_code in (400, 404, 413, 422), (path, body)


async def test_a_report_of_a_model_server_from_the_first_moment_is_taken(api: httpx.AsyncClient) -> None:
    created = (await api.post("/api/v1/keys", json={"name": "k", "scopes": ["predict"]})).json()
    first = "0001-01-01T00:00:00Z"
    report = {"server_id": "s", "version": "1", "started_at": first, "deployments": [],
              "keys_used": {created["id"]: first}}  # fmt: skip
    assert (await api.post("/api/v1/serving/status", json=report)).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/predictions", "/api/v1/monitoring/reports"])
async def test_a_list_of_an_unknown_deployment_is_no_empty_list(api: httpx.AsyncClient, path: str) -> None:
    response = await api.get(path, params={"deployment": "wealht"})
    assert (response.status_code, response.json()["code"]) == (404, "deployment_not_found")


async def test_pages_follow_each_other(api: httpx.AsyncClient) -> None:
    for number in range(5):
        await api.post("/api/v1/keys", json={"name": f"k{number}", "scopes": ["predict"]})
    seen, token = [], None
    while True:
        params = {"page_size": 2} | ({"page_token": token} if token else {})
        page = (await api.get("/api/v1/keys", params=params)).json()
        seen += [key["name"] for key in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == ["k4", "k3", "k2", "k1", "k0", "test"]
    assert (await api.get("/api/v1/keys", params={"page_token": "zzz"})).status_code == 422


async def test_the_callers_request_id_comes_back(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/v1/keys", headers={"X-Request-Id": "caller-0001"})
    assert response.headers["x-request-id"] == "caller-0001"
    response = await api.get("/api/v1/keys", headers={"X-Request-Id": "bad id\x7f"})
    assert len(response.headers["x-request-id"]) == 32


async def test_readiness_lists_its_checks_and_metrics_use_route_templates(api: httpx.AsyncClient) -> None:
    ready = await api.get("/readyz?verbose")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": True, "object_store": True})
    await api.post("/api/v1/keys/key_0:revoke")
    metrics = (await api.get("/metrics")).text
    assert 'route="/api/v1/keys/{key_id}:revoke",status="404"' in metrics


@pytest.mark.parametrize(
    ("caller", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.7", 403),
        ("::ffff:192.0.2.7", 403),
        ("", 403),
    ],
)
async def test_figures_are_for_this_machine_where_that_is_set(caller: str, status: int) -> None:
    app = create_web_app(WebConfig("Closed", create_registry(), 1000, metrics_to="this_machine"), ())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(caller, 1)), base_url="http://x") as client:
        assert (await client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})).status_code == status
        assert (await client.get("/livez")).status_code == 200


async def test_the_documentation_page_needs_no_network(anonymous_api: httpx.AsyncClient) -> None:
    page = await anonymous_api.get("/docs")
    assert page.status_code == 200
    assert "cdn" not in page.text
    for asset in ("/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css"):
        assert asset in page.text
        assert (await anonymous_api.get(asset)).status_code == 200
