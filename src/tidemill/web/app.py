"""The FastAPI application that every HTTP process starts from."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from tidemill import __version__
from tidemill.schemas.problem import ProblemDetails
from tidemill.tracing.spans import is_on
from tidemill.web.access import QUIET, AccessMiddleware
from tidemill.web.body_limit import BodyLimitMiddleware
from tidemill.web.content_encoding import ContentEncodingMiddleware
from tidemill.web.documentation import documentation_router
from tidemill.web.health import Check, health_router
from tidemill.web.last_answer import LastAnswerMiddleware
from tidemill.web.metrics import HttpMetrics, MetricsTo, metrics_router
from tidemill.web.problems import MEDIA_TYPE, UnexpectedErrorMiddleware, install_problem_handlers
from tidemill.web.request_id import RequestIdMiddleware
from tidemill.web.routing import RouteMiddleware, RouteTable

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class WebConfig:
    """What differs between HTTP processes."""

    title: str
    registry: CollectorRegistry
    max_body_bytes: int
    metrics_to: MetricsTo = "anyone"
    introduction: str | None = None
    """What a reader of ``/docs`` should know before the routes; Markdown."""
    body_limit_exceptions: Sequence[tuple[str, int]] = ()
    """Paths (as a pattern) and the limit in bytes that holds there instead."""
    packed_paths: Sequence[str] = ()
    """Patterns of paths whose bodies may be compressed."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    notices: Mapping[str, Check] = field(default_factory=dict)
    authentication: Middleware | None = None
    """Refuses callers by their headers, before the body limit and whatever else reads a body."""
    inner_middleware: Sequence[Middleware] = ()
    """Middleware of this process alone, behind the body limit; the last one is the innermost."""


def create_web_app(config: WebConfig, routers: Sequence[APIRouter], lifespan: Lifespan | None = None) -> FastAPI:
    """Routers behind request ids, access log, metrics, body limit and problem details."""
    app = FastAPI(
        title=config.title,
        description=config.introduction or "",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        generate_unique_id_function=_operation_id,
        telemetry=_telemetry(),
        responses={"default": {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}, "description": "A problem"}},
        redirect_slashes=False,
    )
    app.include_router(health_router(config.checks, config.notices))
    app.include_router(metrics_router(config.registry, config.metrics_to))
    app.include_router(documentation_router(config.title))
    for router in routers:
        app.include_router(router)
    install_problem_handlers(app)
    for inner in reversed(config.inner_middleware):
        app.add_middleware(inner.cls, *inner.args, **inner.kwargs)
    app.add_middleware(ContentEncodingMiddleware, packed_paths=config.packed_paths)
    app.add_middleware(BodyLimitMiddleware, limit_bytes=config.max_body_bytes, exceptions=config.body_limit_exceptions)
    if config.authentication is not None:
        app.add_middleware(config.authentication.cls, *config.authentication.args, **config.authentication.kwargs)
    table = cache(lambda: RouteTable(app.routes))
    app.add_middleware(RouteMiddleware, table=table)
    app.add_middleware(UnexpectedErrorMiddleware)
    app.add_middleware(AccessMiddleware, metrics=HttpMetrics(config.registry))
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(LastAnswerMiddleware)
    return app


def _telemetry() -> TelemetryConfig:
    """Spans of requests only: metrics are ours, and the framework's log records would hold messages of errors."""
    return {
        "tracing": is_on(),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: scope.get("path") in QUIET,
    }


def _operation_id(route: APIRoute) -> str:
    if not route.include_in_schema:
        return route.name
    if route.operation_id is None:
        raise ValueError(f"Route {route.path} needs an explicit operation_id.")
    return route.operation_id
