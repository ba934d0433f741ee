"""SQL of feedback. Prediction ids begin with their time, so a time window of predictions is a range of ids."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, DateTime, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.features.feedback.rows import NewTruth
from tidemill.kit.labels import Label

_WRITE_LOCK = 7236421
_IDS = bindparam("ids", type_=ARRAY(Text))
_TIMES = bindparam("times", type_=ARRAY(DateTime(timezone=True)))

_LATEST = text("""
    SELECT DISTINCT ON (prediction_id) prediction_id, truth, observed_at
    FROM feedback WHERE prediction_id = ANY(:ids)
    ORDER BY prediction_id, observed_at DESC, seq DESC
""").bindparams(_IDS)

_TRUTHS = bindparam("truths", type_=ARRAY(Text))
_KNOWN = text("""
    SELECT DISTINCT f.prediction_id, f.truth, f.observed_at
    FROM unnest(:ids, :truths, :times) AS told (prediction_id, truth, observed_at)
    JOIN feedback f USING (prediction_id, observed_at)
    WHERE f.truth = told.truth::jsonb
""").bindparams(_IDS, _TRUTHS, _TIMES)

_INSERT = text("""
    INSERT INTO feedback (prediction_id, truth, observed_at, principal, request_id)
    SELECT prediction_id, truth::jsonb, observed_at, :principal, :request_id
    FROM unnest(:ids, :truths, :times) WITH ORDINALITY AS told (prediction_id, truth, observed_at, place)
    ORDER BY place
""").bindparams(_IDS, _TRUTHS, _TIMES)

_REVISIONS = text("""
    SELECT count(*) FROM (
        SELECT truth IS DISTINCT FROM lag(truth) OVER told AS changed, row_number() OVER told AS place
        FROM feedback WHERE prediction_id = ANY(:ids)
        WINDOW told AS (PARTITION BY prediction_id ORDER BY observed_at, seq)
    ) AS history WHERE changed AND place > 1
""").bindparams(_IDS)

_PREDICTIONS_WITH_TRUTH = text("""
    SELECT DISTINCT prediction_id FROM feedback
    WHERE prediction_id >= :first AND prediction_id < :end AND prediction_id > :after
    ORDER BY prediction_id LIMIT :limit
""")


async def lock_writes(session: AsyncSession) -> None:
    """One writer at a time until the transaction ends, so that two equal requests cannot both find nothing."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITE_LOCK})


async def latest(session: AsyncSession, ids: Sequence[str]) -> list[tuple[str, Label, datetime]]:
    """The truth that counts for each of ``ids`` that has one."""
    rows = await session.execute(_LATEST, {"ids": list(ids)})
    return [(row.prediction_id, row.truth, row.observed_at) for row in rows]


async def known_of(
    session: AsyncSession, told: Sequence[tuple[str, Label, datetime]]
) -> list[tuple[str, Label, datetime]]:
    """Those of ``told`` (prediction, truth, moment) that are stored: no more, however many truths a moment has."""
    ids, truths, times = ([row[place] for row in told] for place in range(3))
    values = {"ids": ids, "truths": [json.dumps(truth) for truth in truths], "times": times}
    rows = await session.execute(_KNOWN, values)
    return [(row.prediction_id, row.truth, row.observed_at) for row in rows]


async def insert(session: AsyncSession, new: Sequence[NewTruth], principal: str, request_id: str | None) -> None:
    values: dict[str, Any] = {
        "ids": [row.prediction_id for row in new],
        "truths": [json.dumps(row.truth) for row in new],
        "times": [row.observed_at for row in new],
        "principal": principal,
        "request_id": request_id,
    }
    await session.execute(_INSERT, values)


async def count_revisions(session: AsyncSession, ids: Sequence[str]) -> int:
    """How often a truth about one of ``ids`` was replaced by a different one."""
    return int((await session.execute(_REVISIONS, {"ids": list(ids)})).scalar_one())


async def ids_with_truth(session: AsyncSession, first: str, end: str, after: str, limit: int) -> list[str]:
    """Predictions with feedback, in order of their ids, from ``first`` to before ``end`` and past ``after``."""
    values = {"first": first, "end": end, "after": after, "limit": limit}
    return list((await session.execute(_PREDICTIONS_WITH_TRUTH, values)).scalars())
