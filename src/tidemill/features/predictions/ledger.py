"""Reading the ledger in bounded batches: what feedback and monitoring need of it.

Prediction ids begin with their time, so a look-up by id names the days it can be on and touches only those partitions.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.kit import ids
from tidemill.kit.limits import PAGE_BYTES

_CLOCK_TOLERANCE = timedelta(minutes=10)
"""Between the moment in an id and the row's ``predicted_at``."""
_SAMPLE_DIGITS = 5

_SOURCES = text("""
    SELECT prediction_id, deployment, model_name, model_version FROM predictions
    WHERE prediction_id = ANY(:ids) AND predicted_at >= :earliest AND predicted_at < :latest
""").bindparams(bindparam("ids", type_=ARRAY(Text)))

_WINDOW = """
    deployment = :deployment AND predicted_at >= :since AND predicted_at < :until
    AND (CAST(:model_version AS integer) IS NULL OR model_version = :model_version)
"""
_COUNT = text(f"SELECT count(*) FROM predictions WHERE {_WINDOW}")  # noqa: S608 - a constant
_READ = text(f"""
    SELECT prediction_id, predicted_at, model_name, model_version, output FROM (
        SELECT batch.*, sum(octet_length(output::text)) OVER (
            ORDER BY predicted_at, prediction_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM (
            SELECT prediction_id, predicted_at, model_name, model_version, output FROM predictions
            WHERE {_WINDOW} AND (predicted_at, prediction_id) > (:after_time, :after_id)
            AND right(prediction_id, {_SAMPLE_DIGITS}) < :sample_end
            ORDER BY predicted_at, prediction_id LIMIT :limit
        ) AS batch
    ) AS measured
    WHERE bytes_before IS NULL OR bytes_before < {PAGE_BYTES} ORDER BY predicted_at, prediction_id
""")  # noqa: S608 - a constant


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
    """Rows after the position ``after``, of these at random the share ``share``, at most ``limit``."""

    after: tuple[datetime, str] | None
    limit: int
    share: float = 1.0


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


async def read_window(session: AsyncSession, window: LedgerWindow, sampling: Sampling) -> list[LedgerRow]:
    """The next rows of ``window`` by (predicted_at, prediction_id); fewer than the limit where outputs are large.

    An id ends in random digits: they sample.
    """
    after = sampling.after or (window.since, "")
    values = _values(window) | {
        "after_time": after[0],
        "after_id": after[1],
        "sample_end": _sample_end(sampling.share),
        "limit": sampling.limit,
    }
    return [LedgerRow(*row) for row in await session.execute(_READ, values)]


def _sample_end(share: float) -> str:
    """The hexadecimal text below which the share ``share`` of all endings lies; "g" is above every digit."""
    return "g" if share >= 1 else f"{int(share * 16**_SAMPLE_DIGITS):0{_SAMPLE_DIGITS}x}"


def _values(window: LedgerWindow) -> dict[str, Any]:
    return {
        "deployment": window.deployment,
        "since": window.since,
        "until": window.until,
        "model_version": window.model_version,
    }
