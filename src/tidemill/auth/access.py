"""What a route asks of its caller, and who the caller was found to be."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope as AsgiScope

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.kit.errors import Unauthenticated
from tidemill.web.connections import caller_is_known

_PRINCIPAL = "tidemill.principal"


@dataclass(frozen=True, slots=True)
class RequiredScope:
    """A dependency that gives the principal, 401 without one, 403 if it lacks ``scope``.

    `AuthenticationMiddleware` has asked the same before the body was read; this is what the route relies on.
    """

    scope: Scope

    async def __call__(self, request: Request) -> Principal:
        principal = principal_of(request.scope)
        if principal is None:
            raise Unauthenticated("key_missing", "An API key is required: Authorization: Bearer <key>.")
        principal.require(self.scope)
        return principal


def admit(scope: AsgiScope, principal: Principal) -> None:
    """Note whose request it is."""
    scope[_PRINCIPAL] = principal
    caller_is_known(scope)


def principal_of(scope: AsgiScope) -> Principal | None:
    """Whose request it is; None where nobody was asked for a key."""
    principal = scope.get(_PRINCIPAL)
    assert principal is None or isinstance(principal, Principal)
    return principal
