"""Orphans: objects whose row was never written, because a job or an upload broke off, or is gone."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction

InUse = Callable[[AsyncSession, Sequence[str]], Awaitable[set[str]]]
"""Those of some keys that a row refers to."""
_AT_ONCE = 500


async def remove_orphans(
    store: ObjectStore, sessions: SessionFactory, prefix: str, before: datetime, in_use: InUse
) -> int:
    """Delete objects below ``prefix`` that no row refers to; how many there were.

    Those written after ``before`` may belong to work under way and are left alone.
    """
    keys, removed = await store.older_than(prefix, before), 0
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        async with transaction(sessions) as session:
            needed = await in_use(session, some)
        orphans = [key for key in some if key not in needed]
        await store.delete(orphans)
        removed += len(orphans)
    return removed
