"""Who is asking, and whether they may: `require` guards every route but health."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header

from tidemill.auth.keys import token_of_header
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.auth.service import authenticate
from tidemill.db.engine import transaction
from tidemill.deps.services import ServicesDep


def require(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """A dependency that gives the principal, 401 without a valid key, 403 without ``scope``."""

    async def principal_with_scope(
        services: ServicesDep, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
    ) -> Principal:
        token = token_of_header(authorization)
        async with transaction(services.sessions) as session:
            principal = await authenticate(session, token, services.settings.environment)
        principal.require(scope)
        return principal

    return principal_with_scope
