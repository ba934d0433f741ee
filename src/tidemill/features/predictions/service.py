"""Reading the ledger row by row, and keeping its partitions ahead of time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory
from tidemill.db.tables.predictions import Prediction
from tidemill.features.predictions import ledger, partitions, queries
from tidemill.features.predictions.ledger import LedgerRow, LedgerWindow, Sampling, Source
from tidemill.features.predictions.queries import Span
from tidemill.kit import ids
from tidemill.kit.clock import earlier, utc_now
from tidemill.kit.errors import Invalid, NotFound, Problem
from tidemill.schemas.predictions import PredictionListQuery

__all__ = [
    "LedgerRow",
    "LedgerWindow",
    "Sampling",
    "Source",
    "count",
    "get",
    "make_partitions",
    "page",
    "read_window",
    "sources_of",
]
_DEFAULT_SPAN = timedelta(days=1)
_LONGEST_SPAN = timedelta(days=366)
_DAYS_AHEAD = 3


async def get(session: AsyncSession, prediction_id: str) -> Prediction:
    """Raises NotFound, also while the row is still on its way from its model server."""
    try:
        moment = ids.created_at(prediction_id) if ids.is_id(prediction_id, ids.PREDICTION) else None
    except (ValueError, OverflowError):
        moment = None
    found = await queries.get(session, prediction_id, moment) if moment else None
    if found is None:
        raise NotFound("prediction_not_found", "The ledger holds no such prediction; it may still be on its way.")
    return found


async def page(
    session: AsyncSession, wanted: PredictionListQuery, limit: int, before: tuple[datetime, str] | None
) -> Sequence[Prediction]:
    """Newest first. Raises Invalid for an empty or too long span of time."""
    return await queries.page(session, _span(wanted), limit, before)


async def make_partitions(sessions: SessionFactory, now: datetime) -> int:
    """Make the partitions of today and the next days; how many were missing."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return await partitions.ensure(sessions, [today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD + 1)])


def _span(wanted: PredictionListQuery) -> Span:
    end = wanted.to or utc_now() + timedelta(seconds=1)
    start = wanted.from_ or earlier(end, _DEFAULT_SPAN)
    if start >= end:
        raise Invalid("span_empty", "from is not before to.", [Problem("/from", "span_empty", "It is not before to.")])
    if end - start > _LONGEST_SPAN:
        problem = Problem("/from", "span_too_long", f"More than {_LONGEST_SPAN.days} days before to.")
        raise Invalid("span_too_long", f"A list spans at most {_LONGEST_SPAN.days} days.", [problem])
    return Span(wanted.deployment, start, end, wanted.model_version)


async def sources_of(session: AsyncSession, prediction_ids: Sequence[str]) -> dict[str, Source]:
    """Who made each of ``prediction_ids``, for other features; those that are not in the ledger are absent."""
    return await ledger.sources_of(session, prediction_ids)


async def count(session: AsyncSession, window: LedgerWindow) -> int:
    """How many predictions ``window`` holds."""
    return await ledger.count(session, window)


async def read_window(session: AsyncSession, window: LedgerWindow, sampling: Sampling) -> list[LedgerRow]:
    """The next rows of ``window``, oldest first, for other features to go through it batch by batch."""
    return await ledger.read_window(session, window, sampling)
