"""Nobody's body is read, nothing is stored and nothing replayed before the caller has shown a key that may."""

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.auth.access import RequiredScope, admit
from tidemill.auth.principal import Principal
from tidemill.kit.errors import TidemillError
from tidemill.web.problems import problem_response
from tidemill.web.routing import route_of

Authenticate = Callable[[str | None], Awaitable[Principal]]
"""The principal of an ``Authorization`` header. Raises Unauthenticated, or Unavailable when that cannot be told now."""


class AuthenticationMiddleware:
    """401 and 403 for every route with a `RequiredScope`, from the headers alone.

    Stands behind `RouteMiddleware` and before all that reads a body. Routes without a `RequiredScope` pass: they are
    public, or ask for themselves.
    """

    def __init__(self, app: ASGIApp, authenticate: Authenticate) -> None:
        self.app = app
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope) if scope["type"] == "http" else None
        needed = [call.scope for call in route.calls if isinstance(call, RequiredScope)] if route else []
        if needed:
            try:
                principal = await self._authenticate(Headers(scope=scope).get("authorization"))
                for one in needed:
                    principal.require(one)
            except TidemillError as error:
                await problem_response(error, Request(scope))(scope, receive, send)
                return
            admit(scope, principal)
        await self.app(scope, receive, send)
