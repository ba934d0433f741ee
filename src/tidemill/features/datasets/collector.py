"""Orphans: bytes whose row was never written or is gone, and versions whose job ended without finishing them.

A crash between bytes and row leaves the bytes; they are collected once they are old enough to belong to nobody.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.datasets import queries, service
from tidemill.features.datasets.keys import PARQUET, RAW, UPLOADS, address_of

_AT_ONCE = 500
_Known = Callable[[AsyncSession, Sequence[str]], Awaitable[set[str]]]


async def collect(store: ObjectStore, sessions: SessionFactory, before: datetime) -> dict[str, int]:
    """What was removed, by kind. ``before``: younger objects and versions are left alone."""
    async with transaction(sessions) as session:
        versions = await _remove_dead_versions(session, before)
    uploads = await store.older_than(UPLOADS, before)
    await store.delete(uploads)
    return {
        "versions": versions,
        "uploads": len(uploads),
        "raw": await _remove_unknown(store, sessions, await store.older_than(RAW, before), _known_raw),
        "parts": await _remove_unknown(store, sessions, await store.older_than(PARQUET, before), queries.known_parts),
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


async def _remove_unknown(store: ObjectStore, sessions: SessionFactory, keys: list[str], known: _Known) -> int:
    removed = 0
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        async with transaction(sessions) as session:
            in_use = await known(session, some)
        orphans = [key for key in some if key not in in_use]
        await store.delete(orphans)
        removed += len(orphans)
    return removed
