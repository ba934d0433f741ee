"""Sessions: begun with an API key, found by the token in a cookie, over when the key is."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope, grants
from tidemill.auth.service import authenticate, is_valid, record_use
from tidemill.db.tables.sessions import Session
from tidemill.features.sessions import queries
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Forbidden, Unauthenticated
from tidemill.settings.model import SessionSettings

_TOKEN_BYTES = 32
_SEEN_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True)
class BegunSession:
    """The token is nowhere but here and in the caller's cookie."""

    token: str
    principal: Principal


async def begin(session: AsyncSession, key: str, environment: str, limits: SessionSettings) -> BegunSession:
    """A session of the holder of ``key``.

    Raises Unauthenticated for a key that is none, Forbidden for one that opens no console.
    """
    principal = await authenticate(session, key, environment)
    if not consoles_of(principal):
        raise Forbidden("scope_missing", "The key opens no console: it lacks mlflow:read and dashboards:read.")
    now, token = utc_now(), secrets.token_urlsafe(_TOKEN_BYTES)
    await queries.remove_ended(session, now, now - timedelta(seconds=limits.idle_seconds))
    expires_at = now + timedelta(seconds=limits.lifetime_seconds)
    session.add(
        Session(
            token_sha256=_digest(token), key_id=principal.key_id, created_at=now, seen_at=now, expires_at=expires_at
        )
    )
    await session.flush()
    await queries.keep_newest(session, principal.key_id, limits.most_per_key)
    return BegunSession(token, principal)


async def find(session: AsyncSession, token: str, limits: SessionSettings) -> Principal:
    """Whose session it is. Raises Unauthenticated when it is over, whatever the reason, or never was."""
    now, digest = utc_now(), _digest(token)
    found = await queries.with_key(session, digest)
    if found is None:
        raise _over()
    row, key = found
    idle = now - row.seen_at > timedelta(seconds=limits.idle_seconds)
    if idle or row.expires_at <= now or not is_valid(key, now):
        raise _over()
    if now - row.seen_at > _SEEN_RESOLUTION:
        await queries.touch(session, digest, now)
        await record_use(session, key.id, now)
    return Principal(key.id, key.name, frozenset(key.scopes), key.expires_at)


async def end(session: AsyncSession, token: str) -> None:
    """Does nothing if it is over already."""
    await queries.remove(session, _digest(token))


def consoles_of(principal: Principal) -> list[Scope]:
    """Scopes of the consoles that ``principal`` may at least look at."""
    return [scope for scope in (Scope.MLFLOW_READ, Scope.DASHBOARDS_READ) if grants(principal.scopes, scope)]


def _digest(token: str) -> str:
    """The token holds 256 random bits: slow hashing would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def _over() -> Unauthenticated:
    return Unauthenticated("session_over", "The session is over. Sign in again.")
