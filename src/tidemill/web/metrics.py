"""Prometheus metrics. Each process makes one registry in its main; nothing is global."""

import ipaddress
from typing import Literal

from fastapi import APIRouter, Request, Response
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
from tidemill.kit.errors import Forbidden

MetricsTo = Literal["anyone", "this_machine"]

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


def metrics_router(registry: CollectorRegistry, metrics_to: MetricsTo = "anyone") -> APIRouter:
    """``/metrics``, which needs no key: 403 for whoever ``metrics_to`` leaves out."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", operation_id="metrics_get", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        if metrics_to == "this_machine" and not _is_local(request):
            raise Forbidden("metrics_local", "Metrics are shown on this machine alone: observability.metrics_to.")
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def _is_local(request: Request) -> bool:
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
