"""Orphans: bundles and holdouts whose version was deleted, or never registered because its job broke off."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db import locks
from tidemill.db.engine import SessionFactory
from tidemill.features.objects.service import remove_orphans
from tidemill.features.registry import queries
from tidemill.features.registry.kinds import CollectPayload
from tidemill.jobs.definition import JobContext
from tidemill.kit.clock import utc_now


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
        "bundles": await remove_orphans(store, sessions, "bundles/", before, _bundles_in_use),
        "holdouts": await remove_orphans(store, sessions, "holdouts/", before, queries.holdouts_in_use),
    }


async def _bundles_in_use(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    by_address = {key.removeprefix("bundles/").removesuffix(".tar"): key for key in keys}
    return {by_address[address] for address in await queries.bundles_in_use(session, list(by_address))}
