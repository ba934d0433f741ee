"""The database's own memory of backups and drills: for their age, whatever process asks."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.backups import BackupRun
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import TidemillError

Kind = Literal["backup", "drill"]
_KEPT = timedelta(days=400)
_RUN = "bkr"


@dataclass(frozen=True)
class Outcome:
    """How a run ended that raised nothing."""

    succeeded: bool
    backup_id: str
    size_bytes: int | None
    detail: dict[str, Any]


T = TypeVar("T")


async def recorded(
    sessions: SessionFactory, kind: Kind, run: Callable[[], Awaitable[T]], outcome: Callable[[T], Outcome]
) -> T:
    """Do ``run`` and remember how it ended; its errors pass through. What is cancelled leaves no row."""
    started_at = utc_now()
    try:
        result = await run()
    except TidemillError as error:
        with contextlib.suppress(SQLAlchemyError):  # the database may be what failed
            await _remember(sessions, kind, started_at, Outcome(False, "", None, {"code": error.code}))
        raise
    await _remember(sessions, kind, started_at, outcome(result))
    return result


async def _remember(sessions: SessionFactory, kind: Kind, started_at: datetime, outcome: Outcome) -> None:
    async with transaction(sessions) as session:
        session.add(
            BackupRun(
                id=ids.new_id(_RUN),
                kind=kind,
                started_at=started_at,
                finished_at=utc_now(),
                succeeded=outcome.succeeded,
                backup_id=outcome.backup_id or None,
                size_bytes=outcome.size_bytes,
                detail=outcome.detail,
            )
        )
        await session.execute(delete(BackupRun).where(BackupRun.finished_at < utc_now() - _KEPT))


async def last_run(session: AsyncSession, kind: Kind, *, succeeded: bool) -> BackupRun | None:
    """The latest run that ended so."""
    query = select(BackupRun).where(BackupRun.kind == kind, BackupRun.succeeded == succeeded)
    return await session.scalar(query.order_by(BackupRun.finished_at.desc()).limit(1))
