"""The identity of the object store: told by the database, and by the store itself, so that a wrong one is recognised.

A folder whose disk is not mounted, a bucket that was emptied or another platform's store look like an empty store:
uploads would go to the wrong place, and what is not found would be taken for gone. Such a store is unavailable.
"""

import itertools

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.datasets import DatasetVersion
from tidemill.db.tables.registry import ModelVersion
from tidemill.db.tables.stores import StoreIdentity
from tidemill.features.datasets.keys import raw_key
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Unavailable
from tidemill.kit.ids import uuid7

_MOST_SAMPLED = 20


def bind(store: ObjectStore, sessions: SessionFactory) -> None:
    """Let ``store`` check that it is this database's before it writes, and when it does not find something."""

    async def identity() -> str:
        return await settled_identity(sessions, store)

    store.identify_by(identity)


async def settled_identity(sessions: SessionFactory, store: ObjectStore) -> str:
    """The identity that the store must have. A database without one gives it to its store, whoever comes first.

    Raises Unavailable if the store is not marked yet and rows name objects of which it holds none, or if it is marked
    and this database, without an identity, names nothing.
    """
    async with transaction(sessions) as session:
        known = await session.get(StoreIdentity, 1)
    if known is not None and known.marked_at is not None:
        return known.identity
    names = await _refuse_foreign(sessions, store)
    found = await store.mark()
    async with transaction(sessions) as session:  # whoever marks the store has told the database before
        known = await session.get(StoreIdentity, 1)
    if known is None and found is not None and not names:
        detail = "The object store is another platform's, as its mark says. If it is to be this one's: adopt-store."
        raise Unavailable("object_store_foreign", detail)
    async with transaction(sessions) as session:
        row = {"number": 1, "identity": found or f"store_{uuid7().hex}", "marked_at": None}
        await session.execute(insert(StoreIdentity).values(row).on_conflict_do_nothing())
        identity = str(await session.scalar(select(StoreIdentity.identity)))
    # Several may come here at once: all of them write the same identity.
    if found != identity:
        await store.write_mark(identity)
    await _settle(sessions, identity)
    return identity


async def renew(sessions: SessionFactory, store: ObjectStore) -> str:
    """Give the store and the database a new identity together: after a restore, or when a store was moved by hand.

    Raises Unavailable if rows name objects of which the store holds none.
    """
    await _refuse_foreign(sessions, store)
    identity = f"store_{uuid7().hex}"
    async with transaction(sessions) as session:
        row = {"number": 1, "identity": identity, "marked_at": None}
        changed = {"identity": identity, "marked_at": None}
        query = insert(StoreIdentity).values(row)
        await session.execute(query.on_conflict_do_update(index_elements=["number"], set_=changed))
    await store.write_mark(identity)
    await _settle(sessions, identity)
    return identity


async def _settle(sessions: SessionFactory, identity: str) -> None:
    async with transaction(sessions) as session:
        await session.execute(
            update(StoreIdentity).where(StoreIdentity.identity == identity).values(marked_at=utc_now())
        )


async def _refuse_foreign(sessions: SessionFactory, store: ObjectStore) -> bool:
    """Whether rows name any object; Unavailable if they do and the store holds none of those that are looked for."""
    async with transaction(sessions) as session:
        keys = await _named_keys(session)
    for key in keys:
        if await store.exists(key):
            return True
    if keys:
        detail = "The object store holds nothing that the database names: is its disk mounted, its address right?"
        raise Unavailable("object_store_foreign", detail)
    return False


async def _named_keys(session: AsyncSession) -> list[str]:
    """Some objects that rows name, the newest first."""
    datasets = select(DatasetVersion.sha256).order_by(DatasetVersion.created_at.desc()).limit(_MOST_SAMPLED)
    models = select(ModelVersion.bundle_sha256).where(ModelVersion.deleted_at.is_(None))
    models = models.order_by(ModelVersion.created_at.desc()).limit(_MOST_SAMPLED)
    raw = [raw_key(sha256) for sha256 in await session.scalars(datasets)]
    bundles = [bundle_key(sha256) for sha256 in await session.scalars(models)]
    return list(itertools.chain(raw, bundles))
