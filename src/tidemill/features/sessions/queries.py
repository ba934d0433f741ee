"""SQL of sessions."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.keys import ApiKey
from tidemill.db.tables.sessions import Session


async def with_key(session: AsyncSession, token_sha256: str) -> tuple[Session, ApiKey] | None:
    query = select(Session, ApiKey).join(ApiKey, ApiKey.id == Session.key_id)
    row = (await session.execute(query.where(Session.token_sha256 == token_sha256))).first()
    return None if row is None else (row[0], row[1])


async def touch(session: AsyncSession, token_sha256: str, seen_at: datetime) -> None:
    await session.execute(update(Session).where(Session.token_sha256 == token_sha256).values(seen_at=seen_at))


async def remove(session: AsyncSession, token_sha256: str) -> None:
    await session.execute(delete(Session).where(Session.token_sha256 == token_sha256))


async def remove_ended(session: AsyncSession, now: datetime, last_seen: datetime) -> None:
    """Those that expired, and those not seen since ``last_seen``."""
    await session.execute(delete(Session).where((Session.expires_at <= now) | (Session.seen_at <= last_seen)))


async def keep_newest(session: AsyncSession, key_id: str, count: int) -> None:
    """Remove all sessions of a key but its ``count`` newest."""
    newest = select(Session.token_sha256).where(Session.key_id == key_id)
    newest = newest.order_by(Session.created_at.desc(), Session.token_sha256).limit(count)
    await session.execute(delete(Session).where(Session.key_id == key_id, Session.token_sha256.not_in(newest)))
