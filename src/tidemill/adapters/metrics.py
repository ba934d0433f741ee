"""What a process sees of the servers it depends on: how often it asks them, how they answer, how long they take."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Histogram

from tidemill.kit.errors import NotFound, TidemillError, Unavailable
from tidemill.tracing.spans import child_span

_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LABELS = ("operation", "outcome")


class RequestMetrics:
    """``operation`` is named by the adapter's code and ``outcome`` is of a closed list, so labels stay few."""

    def __init__(self, server: str, requests: Counter, duration: Histogram) -> None:
        self._server = server
        self._requests = requests
        self._duration = duration

    @contextlib.contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Count and time what the block does, as a step of the present trace; its errors pass through."""
        started, outcome = time.perf_counter(), "ok"
        try:
            with child_span(f"{self._server} {operation}", SpanKind.CLIENT):
                yield
        except BaseException as error:
            outcome = _outcome_of(error)
            raise
        finally:
            self._requests.labels(operation, outcome).inc()
            self._duration.labels(operation).observe(time.perf_counter() - started)


def store_metrics(registry: CollectorRegistry | None = None) -> RequestMetrics:
    """Metrics of the object store; without a registry they are kept but shown nowhere."""
    return RequestMetrics(
        "object store",
        Counter(
            "tidemill_object_store_requests_total",
            "Calls to the object store, retries included in one: ok, not_found, refused, error or cancelled.",
            _LABELS,
            registry=registry,
        ),
        Histogram(
            "tidemill_object_store_request_duration_seconds",
            "Time of one call to the object store; of put_stream at the sender's pace.",
            ("operation",),
            buckets=_BUCKETS_SECONDS,
            registry=registry,
        ),
    )


def mlflow_metrics(registry: CollectorRegistry | None = None) -> RequestMetrics:
    """Metrics of MLflow's REST interface; without a registry they are kept but shown nowhere."""
    return RequestMetrics(
        "mlflow",
        Counter(
            "tidemill_mlflow_requests_total",
            "Calls to MLflow, retries included in one: ok, not_found, refused, error or cancelled.",
            _LABELS,
            registry=registry,
        ),
        Histogram(
            "tidemill_mlflow_request_duration_seconds",
            "Time of one call to MLflow.",
            ("operation",),
            buckets=_BUCKETS_SECONDS,
            registry=registry,
        ),
    )


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, NotFound):
        return "not_found"
    if isinstance(error, TidemillError) and not isinstance(error, Unavailable):
        return "refused"
    return "cancelled" if isinstance(error, (asyncio.CancelledError, GeneratorExit)) else "error"
