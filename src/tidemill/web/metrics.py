"""Prometheus metrics. Each process makes one registry in its main; nothing is global."""

from fastapi import APIRouter, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tidemill import __version__

_LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def create_registry() -> CollectorRegistry:
    """A registry with the process's own figures (CPU, memory, file descriptors, garbage collection, version)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge(
        "tidemill_build_info", "Always 1; the version of Tidemill as a label.", ("version",), registry=registry
    )
    build.labels(__version__).set(1)
    return registry


class HttpMetrics:
    """Requests by route template, never by path, so that ids do not become labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tidemill_http_requests_total",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "tidemill_http_request_duration_seconds",
            "Time from the first byte of the request to the end of the answer.",
            ("method", "route"),
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/metrics", operation_id="metrics_get", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return router
