"""Create, check, list and revoke keys in PostgreSQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.keys import generate_token, read_token, same_secret
from tidemill.auth.principal import Principal
from tidemill.auth.privileges import require_may_revoke
from tidemill.auth.scopes import Scope
from tidemill.db.tables.keys import ApiKey
from tidemill.kit import ids
from tidemill.kit.clock import earlier, utc_now
from tidemill.kit.errors import Conflict, NotFound, Unauthenticated

_LAST_USE_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True)
class NewKey:
    name: str
    scopes: Sequence[Scope]
    expires_at: datetime | None = None


async def create_key(
    session: AsyncSession, new: NewKey, environment: str, created_by: str | None
) -> tuple[ApiKey, str]:
    """Store a key and return it with its token, which nobody can show again."""
    key_id = ids.new_id(ids.KEY)
    token = generate_token(environment, key_id)
    key = ApiKey(
        id=key_id,
        name=new.name,
        secret_sha256=read_token(token).secret_sha256,
        scopes=[scope.value for scope in new.scopes],
        created_by=created_by,
        expires_at=new.expires_at,
        created_at=utc_now(),
    )
    session.add(key)
    await session.flush()
    return key, token


async def authenticate(session: AsyncSession, token: str, environment: str) -> Principal:
    """The principal of ``token``, a key of ``environment``.

    Raises Unauthenticated if there is none: one answer for unknown, revoked, expired.
    """
    presented = read_token(token, environment)
    key = await session.get(ApiKey, presented.key_id)
    if key is None or not same_secret(key.secret_sha256, presented.secret_sha256) or not is_valid(key, utc_now()):
        raise Unauthenticated("key_rejected", "The API key is unknown, revoked or expired.")
    await record_use(session, key.id, utc_now())
    return Principal(key.id, key.name, frozenset(key.scopes), key.expires_at)


async def principal_by_id(session: AsyncSession, key_id: str) -> Principal:
    """The principal of a key that was authenticated before. Raises Unauthenticated once it is revoked or expired."""
    key = await session.get(ApiKey, key_id)
    if key is None or not is_valid(key, utc_now()):
        raise Unauthenticated("key_rejected", "The API key is unknown, revoked or expired.")
    return Principal(key.id, key.name, frozenset(key.scopes), key.expires_at)


def is_valid(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


async def record_use(session: AsyncSession, key_id: str, used_at: datetime) -> None:
    """Remember the last use, to the minute, so that busy keys do not write on every request."""
    stale = (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < earlier(used_at, _LAST_USE_RESOLUTION))
    await session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=used_at))


async def names_of(session: AsyncSession, key_ids: Collection[str]) -> dict[str, str]:
    """Names of keys by id, revoked ones too: what a key did is shown with its name. Other ids are left out."""
    rows = await session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(set(key_ids))))
    return dict(rows.tuples().all())


async def list_keys(session: AsyncSession, limit: int, after: str | None) -> list[ApiKey]:
    """Newest first; ``after`` is the id of the last key already seen."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id < after)
    return list(await session.scalars(query))


async def valid_keys(session: AsyncSession, limit: int) -> list[ApiKey]:
    """Keys that are neither revoked nor expired, for those who check keys themselves."""
    alive = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > utc_now()))
    return list(await session.scalars(select(ApiKey).where(alive).order_by(ApiKey.id).limit(limit)))


async def revoke_key(session: AsyncSession, key_id: str, by: Principal) -> ApiKey:
    """Raises NotFound, Forbidden if ``by`` may not, or Conflict if it is revoked already or the last with ``admin``."""
    admins = await _valid_admin_keys(session)
    key = await session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        raise NotFound("key_not_found", "There is no such key.")
    require_may_revoke(by, key.scopes)
    if key.revoked_at is not None:
        raise Conflict("key_already_revoked", "The key is revoked already.")
    if admins == [key.id]:
        raise Conflict("key_last_admin", "This is the last valid key with the scope admin. Make another one first.")
    key.revoked_at = utc_now()
    return key


async def _valid_admin_keys(session: AsyncSession) -> list[str]:
    """Their ids, locked in one order: two that revoke each other at the same time must not both succeed."""
    alive = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > utc_now()))
    query = select(ApiKey.id).where(alive, ApiKey.scopes.contains([Scope.ADMIN.value])).order_by(ApiKey.id)
    return list(await session.scalars(query.with_for_update()))
