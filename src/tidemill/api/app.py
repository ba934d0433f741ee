"""The api as an ASGI application."""

from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from starlette.middleware import Middleware

from tidemill.api.idempotency import IdempotencyMiddleware
from tidemill.api.routes import ROUTERS
from tidemill.auth.middleware import AuthenticationMiddleware
from tidemill.auth.scopes import Scope
from tidemill.deps import ApiServices, IntakeMetrics, Uploads, authenticator
from tidemill.features.registry.policy import CHECKS
from tidemill.kit.limits import MAX_SEGMENT_BYTES
from tidemill.web import document
from tidemill.web.app import Lifespan, WebConfig, create_web_app
from tidemill.web.database_problems import install_database_problems
from tidemill.web.json_body import JsonBodyMiddleware
from tidemill.web.request_memory import RequestMemory, RequestMemoryMiddleware

_INTRODUCTION = """\
The control plane: datasets, training, models, deployments, predictions, feedback, monitoring, jobs and keys.
Predictions are asked of the model server, whose own `/docs` describes them.

- **Key**: every route but health wants `Authorization: Bearer tm_...`; HTTP Basic with the key as password works too.
- **Long work** answers `202` with `Location: /api/v1/jobs/{id}`; `GET .../events` there follows it as it happens.
- **Errors** are `application/problem+json` (RFC 9457) with a stable `code`, the `request_id` and a `pointer` to each
  wrong place. They never repeat what was sent.
- **Lists** come in pages: `?page_size=50`, then `?page_token=` with `next_page_token`, until that is null.
- **Repeating** a creating `POST` is safe with an `Idempotency-Key`: the same key and body get the same answer.
- **Times** are RFC 3339 in UTC; every metric of a model comes with the ends of its interval.
"""
_FORM_MAX_BYTES = 16 * 2**10
"""Of the only bodies that are read without a key."""
_SIGN_IN = ("/sign-in", "/sign-out")
"""Forms of a browser, which has a cookie and no key."""
_UPLOADS = (r"/api/v1/datasets/[^/]+/versions", r"/api/v1/feedback/files")
"""Patterns of the paths whose bodies are read piece by piece."""
_SEGMENTS, _FORMS = r"/api/v1/ledger/segments", r"/sign-(in|out)"
_NOT_IDEMPOTENT_BY_KEY = (
    *_SIGN_IN,
    "/api/v1/keys",
    "/api/v1/datasets/",
    "/api/v1/ledger/",
    "/api/v1/feedback/files",
)
"""Answers that must not be stored, and bodies too large to be read twice, which are idempotent by content."""


def create_app(services: ApiServices, lifespan: Lifespan | None = None) -> FastAPI:
    """The api on ``services``, with the same middleware in tests and in production."""

    async def database_answers() -> bool:
        async with services.sessions() as session:
            await session.execute(text("SELECT 1"))
        return True

    config = WebConfig(
        title="Tidemill",
        introduction=_INTRODUCTION,
        registry=services.registry,
        max_body_bytes=services.settings.api.max_body_bytes,
        metrics_to=services.settings.observability.metrics_to,
        body_limit_exceptions=(
            *((path, services.settings.api.max_upload_bytes) for path in _UPLOADS),
            (_SEGMENTS, MAX_SEGMENT_BYTES),
            (_FORMS, _FORM_MAX_BYTES),
        ),
        packed_paths=_UPLOADS,
        checks={"database": database_answers, "object_store": services.store.is_right},
        authentication=Middleware(
            AuthenticationMiddleware,
            authenticate=authenticator(services.sessions, services.lanes, services.settings.environment),
        ),
        inner_middleware=[
            Middleware(
                RequestMemoryMiddleware,
                memory=RequestMemory(services.settings.api.request_memory_bytes),
                streamed_paths=_UPLOADS,
            ),
            Middleware(JsonBodyMiddleware, except_paths=(*_UPLOADS, _SEGMENTS, _FORMS)),
            Middleware(IdempotencyMiddleware, sessions=services.sessions, except_paths=_NOT_IDEMPOTENT_BY_KEY),
        ],
    )
    app = create_web_app(config, ROUTERS, lifespan)
    install_database_problems(app)
    app.state.services = services
    app.state.uploads = Uploads()
    app.state.intake_metrics = IntakeMetrics(services.registry)
    _name_codes(document.complete(app, ("/livez", "/readyz")))
    return app


def _name_codes(described: dict[str, Any]) -> None:
    """Scopes and checks are not known to the room of the schemas."""
    for schema, member, codes in (
        ("KeyCreate", "scopes", sorted(scope.value for scope in Scope)),
        ("GatePolicy", "ignored_checks", list(CHECKS)),
    ):
        items = described["components"]["schemas"][schema]["properties"][member]["items"]
        items.pop("pattern", None)
        items["enum"] = codes
