"""The identity of the object store: told by the database, and by the store itself, so that a wrong one is recognised.

A folder whose disk is not mounted, a bucket that was emptied or another platform's store look like an empty store:
uploads would go to the wrong place, and what is not found would be taken for gone. Such a store is unavailable.
"""

import contextlib

from sqlalchemy.exc import SQLAlchemyError

from tidemill.adapters.object_store import ObjectStore
from tidemill.adapters.store_mark import FOREIGN
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.datasets import service as datasets
from tidemill.features.registry import service as registry
from tidemill.features.stores import queries
from tidemill.kit.errors import Unavailable
from tidemill.kit.ids import uuid7

_MOST_SAMPLED = 20
_NOT_NAMED = "The object store lacks most of what the database names: is its disk mounted, its address right?"
_ANOTHER = "The object store is another platform's, as its mark says. If it is to be this one's: adopt-store."


def bind(store: ObjectStore, sessions: SessionFactory) -> None:
    """Let ``store`` check that it is this database's before it writes, and when it does not find something."""

    async def identity() -> str:
        return await settled_identity(sessions, store)

    store.identify_by(identity)


async def bind_if_known(store: ObjectStore, sessions: SessionFactory) -> None:
    """As `bind`, for one who only reads, such as a backup: a store without an identity gets none by that.

    Raises Unavailable at once if the store is not this database's.
    """
    if await known_identity(sessions) is None:
        return

    async def identity() -> str:
        found = await known_identity(sessions)
        if found is None:
            raise Unavailable(FOREIGN, "The object store is being marked anew; try again.")
        return found

    store.identify_by(identity)
    await store.ensure_right()


async def known_identity(sessions: SessionFactory) -> str | None:
    """What the database says that its store is marked with; None before it was marked, and without our tables."""
    async with transaction(sessions) as session:
        known = await queries.known(session) if await queries.has_table(session) else None
    return known.identity if known is not None and known.marked_at is not None else None


async def settled_identity(sessions: SessionFactory, store: ObjectStore) -> str:
    """The identity that the store must have. A database without one gives it to its store, whoever comes first.

    Raises Unavailable if rows name objects most of which the store lacks, or if no row names any and the store has
    a mark that this database did not give.
    """
    known = await known_identity(sessions)
    if known is not None:
        return known
    names = await _refuse_foreign(sessions, store)
    found = await store.mark()
    async with transaction(sessions) as session:  # whoever marks the store has told the database before
        begun = await queries.known(session)
    if found is not None and not names and (begun is None or begun.identity != found):
        raise Unavailable(FOREIGN, _ANOTHER)
    async with transaction(sessions) as session:
        identity = await queries.insert_if_missing(session, found or _new_identity())
    # Several may come here at once: all of them write the same identity.
    if found != identity:
        await store.write_mark(identity)
    async with transaction(sessions) as session:
        await queries.settle(session, identity)
    return identity


async def renew(sessions: SessionFactory, store: ObjectStore) -> str | None:
    """Give the store and the database a new identity together: after a restore, or when a store was moved by hand.

    Gives the mark that the store had, if it was not this database's: whoever it belongs to is refused from now on.
    Raises Unavailable if rows name objects most of which the store lacks, or if it may not be written to; then
    everything is as before.
    """
    await _refuse_foreign(sessions, store)
    found, before, identity = await store.mark(), await known_identity(sessions), _new_identity()
    async with transaction(sessions) as session:  # first, so that nobody meets a mark that the database does not know
        await queries.replace(session, identity)
    try:
        await store.write_mark(identity)
    except BaseException:
        with contextlib.suppress(SQLAlchemyError):  # else the next process that starts tries to mark it again
            await _take_back(sessions, before)
        raise
    async with transaction(sessions) as session:
        await queries.settle(session, identity)
    return found if found != before else None


async def _take_back(sessions: SessionFactory, before: str | None) -> None:
    async with transaction(sessions) as session:
        if before is None:
            await queries.forget(session)
        else:
            await queries.replace(session, before)
            await queries.settle(session, before)


def _new_identity() -> str:
    return f"store_{uuid7().hex}"


async def _refuse_foreign(sessions: SessionFactory, store: ObjectStore) -> bool:
    """Whether rows name any object; Unavailable if the store holds fewer than half of those that are looked for.

    A few are no proof: two platforms that were given the same table have an object in common.
    """
    async with transaction(sessions) as session:
        keys = await datasets.newest_keys(session, _MOST_SAMPLED) + await registry.newest_keys(session, _MOST_SAMPLED)
    keys = list(dict.fromkeys(keys))  # the same table under many names is one object
    held = [await store.holds(key) for key in keys]
    if 2 * sum(held) < len(keys):
        raise Unavailable(FOREIGN, _NOT_NAMED)
    return bool(keys)
