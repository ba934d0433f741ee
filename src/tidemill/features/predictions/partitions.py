"""Day partitions of the ledger: made ahead by a schedule, and on demand when rows of another day arrive."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory, transaction

_LOCK = 7236431
_DAY = timedelta(days=1)
_NAMES = text("""
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'predictions'::regclass
""")


def partition_of(day: datetime) -> str:
    return f"predictions_{day:%Y%m%d}"


async def ensure(sessions: SessionFactory, days: Iterable[datetime]) -> int:
    """Make the missing partitions of ``days`` (midnights, UTC) in a transaction of their own; how many were made.

    Making one locks the whole ledger for a moment, so no transaction that has touched it may wait for this one.
    """
    wanted = {partition_of(day): day for day in days}
    async with transaction(sessions) as session:
        if not await _missing(session, wanted):
            return 0
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        missing = await _missing(session, wanted)
        for name in missing:
            await session.execute(text(_create(name, wanted[name])))
        return len(missing)


async def _missing(session: AsyncSession, wanted: Iterable[str]) -> list[str]:
    present = set((await session.execute(_NAMES)).scalars())
    return sorted(set(wanted) - present)


def _create(name: str, day: datetime) -> str:
    return (
        f"CREATE TABLE {name} PARTITION OF predictions "
        f"FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + _DAY).isoformat()}')"
    )
