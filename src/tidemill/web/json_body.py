"""Bodies of JSON are judged by their shape before anything parses them, which happens in the event loop.

Two members of one name are refused here too: the parser behind takes the last and says nothing.
"""

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.json_shape import ShapeLimits, check_shape
from tidemill.reading.json_lines import has_repeated_member
from tidemill.web.problems import problem_response
from tidemill.web.request_memory import memory_of

LIMITS = ShapeLimits(values=50_000, depth=64, number_characters=400)
"""The largest request, 10,000 truths with their moments, has 40,000 values; the longest number 309 digits."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class JsonBodyMiddleware:
    """Stands behind `RequestMemoryMiddleware`, from whose budget it claims what parsing will take.

    ``except_paths``: patterns of paths whose bodies are not JSON. A body elsewhere is judged whatever it says it is.
    """

    def __init__(self, app: ASGIApp, except_paths: Sequence[str]) -> None:
        self.app = app
        self._except = re.compile("|".join(except_paths))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_judged = scope["type"] == "http" and scope["method"] in _WITH_BODY
        if not is_judged or self._except.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
            memory_of(request).take(check_shape(body, LIMITS))
            if has_repeated_member(body):
                raise Invalid("member_repeated", "An object of the body has two members of the same name.")
        except TidemillError as error:
            await problem_response(error, request)(scope, receive, send)
            return
        is_told = False

        async def replayed_receive() -> Message:
            nonlocal is_told
            if is_told:
                return await receive()
            is_told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replayed_receive, send)
