"""Reading the ledger row by row, and keeping its partitions ahead of time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory
from tidemill.db.pages import Cut
from tidemill.db.tables.predictions import Prediction
from tidemill.features.predictions import ledger, partitions, queries
from tidemill.features.predictions.ledger import DayCount, LedgerRow, LedgerWindow, Place, Sampling, Source
from tidemill.features.predictions.queries import Span
from tidemill.kit import ids
from tidemill.kit.clock import earlier, utc_now
from tidemill.kit.errors import Invalid, NotFound, Problem
from tidemill.schemas.predictions import PredictionListQuery

__all__ = [
    "DayCount",
    "LedgerRow",
    "LedgerWindow",
    "Place",
    "Sampling",
    "Source",
    "count",
    "count_by_day",
    "get",
    "make_partitions",
    "page",
    "places_of",
    "read_ids",
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
    session: AsyncSession, wanted: PredictionListQuery, before: tuple[datetime, str] | None
) -> Cut[Prediction]:
    """Newest first. Raises Invalid for an empty or too long span of time."""
    return await queries.page(session, _span(wanted), wanted.page_size, before)


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


async def count_by_day(session: AsyncSession, window: LedgerWindow) -> list[DayCount]:
    """How many predictions ``window`` holds of each model version and day (UTC)."""
    return await ledger.count_by_day(session, window)


async def places_of(session: AsyncSession, window: LedgerWindow, ids_: Sequence[str]) -> list[Place]:
    """Where those of ``ids_`` that ``window`` holds are counted."""
    return await ledger.places_of(session, window, ids_)


async def read_ids(
    session: AsyncSession, window: LedgerWindow, ids_: Sequence[str], begin: float, end: float
) -> Cut[LedgerRow]:
    """Rows of ``window`` among ``ids_`` between the two bounds of a `Sampling`, by id, at most a page of bytes.

    Where there are more, they are those past the id of the last one.
    """
    return await ledger.read_ids(session, window, ids_, begin, end)


async def read_window(session: AsyncSession, window: LedgerWindow, sampling: Sampling) -> Cut[LedgerRow]:
    """The next rows of ``window``, oldest first, at most a page of bytes, for other features to go through it."""
    return await ledger.read_window(session, window, sampling)
