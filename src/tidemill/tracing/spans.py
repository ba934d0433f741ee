"""Spans of our own work, around those that the web framework makes of requests.

Nothing here records messages, arguments or values: a span has a name, times, and the kind of what went wrong.
"""

import contextlib
from collections.abc import Iterator, Mapping

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_HEADER = "traceparent"
Attributes = Mapping[str, str | int]


def is_on() -> bool:
    """True if spans go anywhere in this process."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def tracer() -> trace.Tracer:
    return trace.get_tracer("tidemill")


def current_traceparent() -> str | None:
    """The present span as W3C Trace Context writes it, for what goes on elsewhere; None outside of any trace."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER)


@contextlib.contextmanager
def child_span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Iterator[None]:
    """A span of a trace that is under way; outside of one nothing is recorded, so that idle polling makes no traces."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with _started(name, kind, attributes, None):
        yield


@contextlib.contextmanager
def continued_span(name: str, traceparent: str | None, attributes: Attributes) -> Iterator[Span]:
    """Work that somebody asked for earlier or elsewhere: part of their trace, or a new one if they had none."""
    carrier = {_HEADER: traceparent} if traceparent else {}
    parent = TraceContextTextMapPropagator().extract(carrier, contexts.Context())
    with _started(name, SpanKind.CONSUMER, attributes, parent) as span:
        yield span


@contextlib.contextmanager
def outside_of_traces() -> Iterator[None]:
    """What is started in the block lives longer than one step of a trace and belongs to none."""
    token = contexts.attach(contexts.Context())
    try:
        yield
    finally:
        contexts.detach(token)


def mark_failed(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


@contextlib.contextmanager
def _started(
    name: str, kind: SpanKind, attributes: Attributes | None, parent: contexts.Context | None
) -> Iterator[Span]:
    with tracer().start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            mark_failed(span, type(error).__name__)
            raise
