"""Stores shipped segments: each row exactly once, however often its segment arrives."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.predictions import partitions
from tidemill.features.predictions.rows import IncomingRow, days_of, read_lines
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, TooLarge
from tidemill.kit.sqlstates import is_about_values
from tidemill.schemas.serving import RejectedRow, SegmentReceipt

MAX_LINES = 500_000
_TABLE = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS ledger_incoming (
        prediction_id text, predicted_at timestamptz, deployment text, model_name text, model_version integer,
        request_id text, principal text, inputs json, output json
    ) ON COMMIT DELETE ROWS
""")
_COPY = (
    "COPY ledger_incoming (prediction_id, predicted_at, deployment, model_name, model_version, request_id, principal, "
    "inputs, output) FROM STDIN"
)
_INSERT = text("""
    INSERT INTO predictions (prediction_id, predicted_at, deployment, model_name, model_version, request_id, principal,
        inputs, output)
    SELECT prediction_id, predicted_at, deployment, model_name, model_version, request_id, principal,
        inputs, output
    FROM ledger_incoming ORDER BY prediction_id
    ON CONFLICT DO NOTHING
""")


@dataclass
class _Tally:
    stored: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)


async def store_segment(sessions: SessionFactory, content: bytes) -> SegmentReceipt:
    """Store the lines of a segment (NDJSON); lines stored before are left alone.

    When this returns, every line that is not ``rejected`` is committed. Raises TooLarge for too many lines.
    """
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise Invalid("segment_empty", "The segment holds no lines.")
    if len(lines) > MAX_LINES:
        raise TooLarge("segment_too_long", f"A segment holds at most {MAX_LINES} lines.")
    rows, rejected = await asyncio.to_thread(read_lines, lines, utc_now())
    tally = _Tally(rejected=rejected)
    if rows:
        await partitions.ensure(sessions, days_of(rows))
        await _store(sessions, rows, tally)
    tally.rejected.sort(key=lambda row: row.line)
    kept = len(lines) - len(tally.rejected)
    return SegmentReceipt(
        received=len(lines), stored=tally.stored, duplicates=kept - tally.stored, rejected=tally.rejected
    )


async def _store(sessions: SessionFactory, rows: Sequence[IncomingRow], tally: _Tally) -> None:
    """Store all rows in one transaction; if the database refuses a value, halve until the row is found that has it.

    Anything else that fails fails for all rows, which may be sent again.
    """
    try:
        async with transaction(sessions) as session:
            stored = await _copy(session, rows)
    except (DBAPIError, psycopg.Error, UnicodeError) as error:
        if not _is_about_values(error):
            raise
        if len(rows) == 1:
            detail = "The database cannot hold the row."
            tally.rejected.append(RejectedRow(line=rows[0].line, code="ledger_row_unstorable", detail=detail))
            return
        middle = len(rows) // 2
        await _store(sessions, rows[:middle], tally)
        await _store(sessions, rows[middle:], tally)
    else:
        tally.stored += stored


async def _copy(session: AsyncSession, rows: Sequence[IncomingRow]) -> int:
    await session.execute(_TABLE)
    connection = await (await session.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert isinstance(driver, AsyncConnection)
    async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            await copy.write_row(
                (
                    row.prediction_id,
                    row.predicted_at,
                    row.deployment,
                    row.model_name,
                    row.model_version,
                    row.request_id,
                    row.principal,
                    row.inputs,
                    row.output,
                )
            )
    result = await session.execute(_INSERT)
    return int(result.rowcount)  # type: ignore[attr-defined]


def _is_about_values(error: Exception) -> bool:
    """COPY's errors are psycopg's own, the other statements' come wrapped; psycopg refuses some values itself."""
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    if state is None:
        return isinstance(original, (psycopg.DataError, UnicodeError))
    return is_about_values(state)
