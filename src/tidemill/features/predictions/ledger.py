"""Reading the ledger in bounded batches: what feedback and monitoring need of it.

Prediction ids begin with their time, so a look-up by id names the days it can be on and touches only those partitions.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut
from tidemill.kit import ids
from tidemill.kit.limits import PAGE_BYTES

_CLOCK_TOLERANCE = timedelta(minutes=10)
"""Between the moment in an id and the row's ``predicted_at``."""
_SAMPLE_STEPS = 1 << 20
_SAMPLE_SEED = 20260101

_SOURCES = text("""
    SELECT prediction_id, deployment, model_name, model_version FROM predictions
    WHERE prediction_id = ANY(:ids) AND predicted_at >= :earliest AND predicted_at < :latest
""").bindparams(bindparam("ids", type_=ARRAY(Text)))

_WINDOW = """
    deployment = :deployment AND predicted_at >= :since AND predicted_at < :until
    AND (CAST(:model_version AS integer) IS NULL OR model_version = :model_version)
"""
_DRAWN = f"(hashtextextended(prediction_id, {_SAMPLE_SEED}) & {_SAMPLE_STEPS - 1})"
"""A row's place in a fixed random order of all rows, whatever its id looks like."""
_COUNT = text(f"SELECT count(*) FROM predictions WHERE {_WINDOW}")  # noqa: S608 - a constant
_ROWS = f"""
    SELECT prediction_id, predicted_at, model_name, model_version, output FROM predictions
    WHERE {_WINDOW} AND {_DRAWN} >= :sample_begin AND {_DRAWN} < :sample_end
"""  # noqa: S608 - a constant


def _fitting(batch: str, order: str) -> str:
    """The first rows of ``batch`` whose outputs fill a page, at least one, and how many rows it has."""
    return f"""
        SELECT prediction_id, predicted_at, model_name, model_version, output, in_batch FROM (
            SELECT batch.*, count(*) OVER () AS in_batch, sum(octet_length(output::text)) OVER (
                ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM ({batch}) AS batch
        ) AS measured
        WHERE bytes_before IS NULL OR bytes_before < {PAGE_BYTES} ORDER BY {order}
    """  # noqa: S608 - constants


_IN_TIME = "predicted_at, prediction_id"
_READ = text(
    _fitting(f"{_ROWS} AND ({_IN_TIME}) > (:after_time, :after_id) ORDER BY {_IN_TIME} LIMIT :limit", _IN_TIME)
)
_READ_IDS = text(
    _fitting(
        f"{_ROWS} AND prediction_id = ANY(:ids) AND predicted_at >= :earliest AND predicted_at < :latest",
        "prediction_id",
    )
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_COUNT_BY_DAY = text(f"""
    SELECT model_name, model_version, CAST(predicted_at AT TIME ZONE 'UTC' AS date) AS day, count(*) AS rows
    FROM predictions WHERE {_WINDOW} GROUP BY 1, 2, 3
""")  # noqa: S608 - a constant
_PLACES = text(f"""
    SELECT prediction_id, model_name, model_version, CAST(predicted_at AT TIME ZONE 'UTC' AS date) AS day
    FROM predictions
    WHERE {_WINDOW} AND prediction_id = ANY(:ids) AND predicted_at >= :earliest AND predicted_at < :latest
""").bindparams(bindparam("ids", type_=ARRAY(Text)))  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Source:
    """Who made a prediction."""

    deployment: str
    model_name: str
    model_version: int


@dataclass(frozen=True, slots=True)
class LedgerWindow:
    """A deployment's predictions with ``since`` <= time < ``until``, of all its model versions or of one."""

    deployment: str
    since: datetime
    until: datetime
    model_version: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    prediction_id: str
    predicted_at: datetime
    model_name: str
    model_version: int
    output: Any


@dataclass(frozen=True, slots=True)
class Sampling:
    """Rows after the position ``after``, at most ``limit``, of these at random the share between two bounds.

    begin, end: parts of one fixed random order of all rows, 0 to 1. A row is drawn for a share if it is for every
    larger one, so rows between two shares are those that the larger sample has in addition.
    """

    after: tuple[datetime, str] | None
    limit: int
    end: float = 1.0
    begin: float = 0.0


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many rows of one model version are of one day (UTC)."""

    model_name: str
    model_version: int
    day: date
    rows: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is counted."""

    prediction_id: str
    model_name: str
    model_version: int
    day: date


async def sources_of(session: AsyncSession, prediction_ids: Sequence[str]) -> dict[str, Source]:
    """The source of each of ``prediction_ids`` that is in the ledger; the others are absent."""
    found: dict[str, Source] = {}
    for same_day in _by_day(prediction_ids):
        moments = [ids.created_at(id_) for id_ in same_day]
        values = {
            "ids": same_day,
            "earliest": min(moments) - _CLOCK_TOLERANCE,
            "latest": max(moments) + _CLOCK_TOLERANCE,
        }
        for row in await session.execute(_SOURCES, values):
            found[row.prediction_id] = Source(row.deployment, row.model_name, row.model_version)
    return found


def _by_day(prediction_ids: Sequence[str]) -> list[list[str]]:
    days: dict[object, list[str]] = {}
    for id_ in prediction_ids:
        with contextlib.suppress(ValueError, OverflowError):  # an id may name a moment that no calendar has
            days.setdefault(ids.created_at(id_).date(), []).append(id_)
    return list(days.values())


async def count(session: AsyncSession, window: LedgerWindow) -> int:
    return int((await session.execute(_COUNT, _values(window))).scalar_one())


async def count_by_day(session: AsyncSession, window: LedgerWindow) -> list[DayCount]:
    return [DayCount(*row) for row in await session.execute(_COUNT_BY_DAY, _values(window))]


async def places_of(session: AsyncSession, window: LedgerWindow, ids_: Sequence[str]) -> list[Place]:
    """Of those of ``ids_`` that ``window`` holds."""
    found = []
    for values in _values_of_ids(window, ids_):
        found += [Place(*row) for row in await session.execute(_PLACES, values)]
    return found


async def read_window(session: AsyncSession, window: LedgerWindow, sampling: Sampling) -> Cut[LedgerRow]:
    """The next rows of ``window`` by (predicted_at, prediction_id); fewer than the limit where outputs are large.

    The database unpacks the outputs of all rows up to the limit to measure them.
    """
    after = sampling.after or (window.since, "")
    values = {"after_time": after[0], "after_id": after[1], "limit": sampling.limit}
    found = await session.execute(_READ, _values(window) | values | _bounds(sampling.begin, sampling.end))
    return _cut(found.all())


async def read_ids(
    session: AsyncSession, window: LedgerWindow, ids_: Sequence[str], begin: float, end: float
) -> Cut[LedgerRow]:
    """Rows of ``window`` among ``ids_`` that lie between the two bounds of `Sampling`, by id, as many as fill a page.

    Where there are more: they are those past the id of the last one. Ids of one day are looked at together.
    """
    days = list(_values_of_ids(window, sorted(ids_)))
    for number, values in enumerate(days, start=1):
        found = _cut((await session.execute(_READ_IDS, values | _bounds(begin, end))).all())
        if found.items:
            return Cut(found.items, found.more or number < len(days))
    return Cut([], more=False)


def _cut(rows: Sequence[Any]) -> Cut[LedgerRow]:
    return Cut(
        [LedgerRow(row[0], row[1], row[2], row[3], row[4]) for row in rows], bool(rows) and rows[0].in_batch > len(rows)
    )


def _values_of_ids(window: LedgerWindow, ids_: Sequence[str]) -> Iterator[dict[str, Any]]:
    for same_day in _by_day(ids_):
        moments = [ids.created_at(id_) for id_ in same_day]
        yield _values(window) | {
            "ids": same_day,
            "earliest": min(moments) - _CLOCK_TOLERANCE,
            "latest": max(moments) + _CLOCK_TOLERANCE,
        }


def _bounds(begin: float, end: float) -> dict[str, int]:
    return {"sample_begin": int(begin * _SAMPLE_STEPS), "sample_end": int(end * _SAMPLE_STEPS)}


def _values(window: LedgerWindow) -> dict[str, Any]:
    return {
        "deployment": window.deployment,
        "since": window.since,
        "until": window.until,
        "model_version": window.model_version,
    }
