"""A span for each statement that a trace sends to PostgreSQL: its text with placeholders, never its parameters."""

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.tracing.spans import is_on, mark_failed, tracer

_MAX_TEXT = 2000
_SPANS = "tidemill_spans"


def trace_statements(engine: AsyncEngine) -> None:
    """Does nothing where traces are off."""
    if is_on():
        event.listen(engine.sync_engine, "before_cursor_execute", _before)
        event.listen(engine.sync_engine, "after_cursor_execute", _after)
        event.listen(engine.sync_engine, "handle_error", _failed)


def _before(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    span = _span_of(statement) if trace.get_current_span().is_recording() else None
    connection.info.setdefault(_SPANS, []).append(span)


def _span_of(statement: str) -> Span:
    verb = statement.split(None, 1)[0].upper() if statement.strip() else "statement"
    attributes = {"db.system.name": "postgresql", "db.operation.name": verb, "db.query.text": statement[:_MAX_TEXT]}
    return tracer().start_span(f"postgresql {verb}", kind=SpanKind.CLIENT, attributes=attributes)


def _after(connection: Any, *_: Any) -> None:
    if (span := connection.info[_SPANS].pop()) is not None:
        span.end()


def _failed(context: ExceptionContext) -> None:
    spans = context.connection.info.get(_SPANS) if context.connection is not None else None
    if spans and context.cursor is not None and (span := spans.pop()) is not None:
        mark_failed(span, type(context.original_exception).__name__)
        span.end()
