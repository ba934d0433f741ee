"""Who is asking, and whether they may: `require` guards every route but health and the sign-in."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends

from tidemill.auth.access import RequiredScope
from tidemill.auth.keys import read_token, token_of_header
from tidemill.auth.lanes import CallerLanes
from tidemill.auth.middleware import Authenticate
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.auth.service import authenticate, principal_by_id
from tidemill.db.engine import SessionFactory, transaction
from tidemill.deps.services import ServicesDep
from tidemill.kit.errors import TidemillError, Unavailable
from tidemill.web.database_problems import of_database

T = TypeVar("T")
RECHECK_SECONDS = 5.0
"""How long a stream may go on after its key was revoked or expired."""
_UNCERTAIN_SECONDS = 60.0
"""How long it goes on while the database does not say."""


def require(scope: Scope) -> RequiredScope:
    """A dependency that gives the principal, 401 without a valid key, 403 without ``scope``."""
    return RequiredScope(scope)


def authenticator(sessions: SessionFactory, lanes: CallerLanes, environment: str) -> Authenticate:
    """Looks keys up in the database, every time: a revoked key is refused from that moment on."""

    async def principal(authorization: str | None) -> Principal:
        token = token_of_header(authorization)
        try:
            async with lanes.turn(read_token(token, environment)), transaction(sessions) as session:
                return await authenticate(session, token, environment)
        except Exception as raised:
            if isinstance(raised, TidemillError) or (error := of_database(raised)) is None:
                raise
            raise error from raised

    return principal


class Standing:
    """Whether the caller of something long still holds what it needed to begin."""

    def __init__(
        self,
        sessions: SessionFactory,
        principal: Principal,
        needed: Scope,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self.principal = principal
        self._needed = needed
        self._known_at = self._asked_at = clock()

    async def check(self) -> None:
        """Ask again if the last answer is `RECHECK_SECONDS` old.

        Raises Unauthenticated once the key is revoked or expired, Forbidden once it lacks the scope, and Unavailable
        when the database has not said for a minute.
        """
        now = self._clock()
        if now - self._asked_at < RECHECK_SECONDS:
            return
        self._asked_at = now
        try:
            async with transaction(self._sessions) as session:
                principal = await principal_by_id(session, self.principal.key_id)
        except Exception as raised:
            if not isinstance(of_database(raised), Unavailable):
                raise
            if now - self._known_at > _UNCERTAIN_SECONDS:
                raise Unavailable("key_uncertain", "Whether the API key still holds cannot be told now.") from None
            return
        principal.require(self._needed)
        self._known_at = now

    async def holding(self, pieces: AsyncIterator[T]) -> AsyncIterator[T]:
        """``pieces`` for as long as the caller may have or send them; raises as `check`."""
        async for piece in pieces:
            await self.check()
            yield piece


def standing(scope: Scope) -> Callable[..., Awaitable[Standing]]:
    """As `require`, for routes whose request or answer may last: a dependency that gives a `Standing`."""
    required = RequiredScope(scope)

    async def standing_of_caller(services: ServicesDep, principal: Annotated[Principal, Depends(required)]) -> Standing:
        return Standing(services.sessions, principal, scope)

    return standing_of_caller
