"""SQL of the store's identity, which has one row."""

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.stores import StoreIdentity
from tidemill.kit.clock import utc_now

_NUMBER = 1


async def known(session: AsyncSession) -> StoreIdentity | None:
    return await session.get(StoreIdentity, _NUMBER)


async def has_table(session: AsyncSession) -> bool:
    """False before the migration that made it: a backup may come before that, a restore before all of them."""
    return await session.scalar(select(func.to_regclass(StoreIdentity.__tablename__))) is not None


async def insert_if_missing(session: AsyncSession, identity: str) -> str:
    """The identity that the row then holds: whoever comes first decides."""
    row = {"number": _NUMBER, "identity": identity, "marked_at": None}
    await session.execute(insert(StoreIdentity).values(row).on_conflict_do_nothing())
    return str(await session.scalar(select(StoreIdentity.identity)))


async def replace(session: AsyncSession, identity: str) -> None:
    """Another identity, with which the store is not marked yet."""
    changed = {"identity": identity, "marked_at": None}
    query = insert(StoreIdentity).values(number=_NUMBER, **changed)
    await session.execute(query.on_conflict_do_update(index_elements=["number"], set_=changed))


async def settle(session: AsyncSession, identity: str) -> None:
    """The store is marked with ``identity``, unless another one was given meanwhile."""
    query = update(StoreIdentity).where(StoreIdentity.identity == identity)
    await session.execute(query.values(marked_at=utc_now()))


async def forget(session: AsyncSession) -> None:
    """As if the database had never had a store."""
    await session.execute(delete(StoreIdentity))
