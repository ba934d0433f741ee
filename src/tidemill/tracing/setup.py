"""Turning traces on for one process. OpenTelemetry's own variables say where they go and how many of them."""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from opentelemetry import trace

from tidemill.kit.errors import Invalid

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_SPOKEN = "http/protobuf"


@contextlib.contextmanager
def tracing(service: str, environment: str) -> Iterator[None]:
    """Send traces while the block runs, and what is left when it ends; nothing happens without an endpoint.

    For a process's main: call it after logging was configured, before anything that makes spans is built. Exits with
    code 2 and one line on stderr if the extra ``tracing`` is missing or another protocol is asked for.
    """
    try:
        provider = _provider(service, environment) if wanted(os.environ) else None
    except Invalid as error:
        sys.stderr.write(f"{error.title}: {error.detail}\n")
        sys.exit(2)
    if provider is None:
        yield
        return
    trace.set_tracer_provider(provider)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_with_trace_id)
    try:
        yield
    finally:
        provider.shutdown()


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables ask for traces. Raises Invalid for a protocol that is not spoken."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not any(environ.get(name) for name in _ENDPOINTS):
        return False
    if any(environ.get(name, _SPOKEN) != _SPOKEN for name in _PROTOCOLS):
        raise Invalid("tracing_protocol_unsupported", f"Traces are sent by {_SPOKEN} only; see {_PROTOCOLS[0]}.")
    return True


def _provider(service: str, environment: str) -> "TracerProvider":
    try:
        export = importlib.import_module("tidemill.tracing.export")
    except ModuleNotFoundError as error:
        raise Invalid(
            "tracing_not_installed", f"{_ENDPOINTS[0]} is set, but the extra tidemill[tracing] is not installed."
        ) from error
    return cast("TracerProvider", export.create_provider(service, environment))


def _with_trace_id(record: logging.LogRecord) -> bool:
    """Every log line that belongs to a trace names it."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record.trace_id = trace.format_trace_id(context.trace_id)
    return True
