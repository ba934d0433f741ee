"""Nobody's body is read before they have shown a key."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.auth.keys import read_token, token_of_header
from tidemill.kit.errors import Unauthenticated
from tidemill.web.problems import problem_response

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class KeyFirstMiddleware:
    """401 for requests with a body whose key is missing or malformed.

    Routes check keys themselves, but only after the framework has read the body and told what is wrong with it.
    """

    def __init__(self, app: ASGIApp, except_paths: Collection[str] = ()) -> None:
        self.app = app
        self._except = frozenset(except_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in _WITH_BODY and scope["path"] not in self._except:
            try:
                read_token(token_of_header(Headers(scope=scope).get("authorization")))
            except Unauthenticated as error:
                await problem_response(error, Request(scope))(scope, receive, send)
                return
        await self.app(scope, receive, send)
