"""Orphans: bytes whose row was never written or is gone, and versions whose job ended without finishing them.

A crash between bytes and row leaves the bytes; they are collected once they are old enough to belong to nobody.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.datasets import queries, service
from tidemill.features.datasets.keys import PARQUET, RAW, UPLOADS, address_of
from tidemill.features.objects.service import remove_orphans


async def collect(store: ObjectStore, sessions: SessionFactory, before: datetime) -> dict[str, int]:
    """What was removed, by kind. ``before``: younger objects and versions are left alone."""
    async with transaction(sessions) as session:
        versions = await _remove_dead_versions(session, before)
    uploads = await store.older_than(UPLOADS, before)
    await store.delete(uploads)
    return {
        "versions": versions,
        "uploads": len(uploads),
        "raw": await remove_orphans(store, sessions, RAW, before, _known_raw),
        "parts": await remove_orphans(store, sessions, PARQUET, before, queries.known_parts),
    }


async def _remove_dead_versions(session: AsyncSession, before: datetime) -> int:
    dead = [version for version in await queries.pending_before(session, before)
            if not await service.is_alive(session, version)]  # fmt: skip
    for version in dead:
        await session.delete(version)
    return len(dead)


async def _known_raw(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    by_address = {address_of(key): key for key in keys}
    return {by_address[address] for address in await queries.known_raw(session, list(by_address))}
