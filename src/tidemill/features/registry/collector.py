"""Orphans: bundles and holdouts whose version was deleted, or never registered because its job broke off."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db import locks
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.registry import queries
from tidemill.features.registry.kinds import CollectPayload
from tidemill.jobs.definition import JobContext
from tidemill.kit.clock import utc_now

_AT_ONCE = 500
_InUse = Callable[[AsyncSession, list[str]], Awaitable[set[str]]]


async def run_collect(ctx: JobContext, payload: CollectPayload) -> dict[str, Any]:
    """Delete bundles and holdouts that no version needs and that are too old to belong to a job under way."""
    before = utc_now() - timedelta(hours=payload.min_age_hours)
    async with locks.try_lock(ctx.services.sessions, locks.DELETING_OBJECTS, shared=True) as allowed:
        if allowed is None:  # a backup copies what its dump names; the next run collects
            return {"held_off_by": "backup"}
        return await collect(ctx.services.store, ctx.services.sessions, before)


async def collect(store: ObjectStore, sessions: SessionFactory, before: datetime) -> dict[str, int]:
    """What was removed, by kind. Objects written after ``before`` are left alone."""
    return {
        "bundles": await _remove(store, sessions, await store.older_than("bundles/", before), _bundles_in_use),
        "holdouts": await _remove(
            store, sessions, await store.older_than("holdouts/", before), queries.holdouts_in_use
        ),
    }


async def _remove(store: ObjectStore, sessions: SessionFactory, keys: list[str], in_use: _InUse) -> int:
    removed = 0
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        async with transaction(sessions) as session:
            needed = await in_use(session, some)
        orphans = [key for key in some if key not in needed]
        await store.delete(orphans)
        removed += len(orphans)
    return removed


async def _bundles_in_use(session: AsyncSession, keys: list[str]) -> set[str]:
    by_address = {key.removeprefix("bundles/").removesuffix(".tar"): key for key in keys}
    return {by_address[address] for address in await queries.bundles_in_use(session, list(by_address))}
