"""The part that needs the extra ``tracing``: spans in batches to a collector, by OTLP over HTTP."""

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tidemill import __version__

_QUERY = "url.query"


def create_provider(service: str, environment: str) -> TracerProvider:
    """A provider that exports in the background; a collector that is away costs nothing but its traces."""
    resource = Resource.create(
        {
            "service.name": f"tidemill-{service}",
            "service.namespace": "tidemill",
            "service.version": __version__,
            "deployment.environment.name": environment,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_WithoutQueries())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _WithoutQueries(SpanProcessor):
    """Queries may hold what callers ask about; a trace holds nobody's data."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if _QUERY in (span.attributes or {}):
            span.set_attribute(_QUERY, "REDACTED")
