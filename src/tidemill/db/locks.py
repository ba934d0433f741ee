"""Advisory locks that last longer than a transaction: held by a connection of their own, gone when it is gone."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.db.engine import SessionFactory

BACKUP = 7236440
"""Held by a backup, a restore or a drill: one at a time."""
DELETING_OBJECTS = 7236441
"""Shared by whoever deletes objects that no row names any more; held alone by a backup, which needs them to stay."""


class HeldLock:
    """A lock that was taken, for as long as its connection lives."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_held(self) -> bool:
        """False once the connection, and the lock with it, was lost."""
        try:
            await self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True


@contextlib.asynccontextmanager
async def try_lock(sessions: SessionFactory, lock: int, *, shared: bool = False) -> AsyncIterator[HeldLock | None]:
    """Hold ``lock`` while the block runs; None, at once, when somebody else's hold excludes it."""
    suffix = "_shared" if shared else ""
    async with sessions() as session:
        connection = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        taken = (await connection.execute(text(f"SELECT pg_try_advisory_lock{suffix}(:lock)"), {"lock": lock})).scalar()
        try:
            yield HeldLock(connection) if taken else None
        finally:
            if taken:
                with contextlib.suppress(DBAPIError):  # a lost connection holds nothing
                    await connection.execute(text(f"SELECT pg_advisory_unlock{suffix}(:lock)"), {"lock": lock})
