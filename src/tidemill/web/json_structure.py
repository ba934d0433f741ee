"""JSON of very many values is refused before it is parsed: each becomes objects, and a problem if it is unwanted."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit.errors import TooLarge
from tidemill.web.problems import problem_response

MOST_VALUES = 150_000
"""Several times what the largest request of the api has: 10,000 items of feedback."""
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_MARKS = b",:{["
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class JsonStructureMiddleware:
    """413 (``body_too_complex``) for a JSON body with more than ``most_values`` values and names.

    ``except_paths``: patterns of paths whose bodies are read piece by piece, whatever they are called.
    """

    def __init__(self, app: ASGIApp, most_values: int = MOST_VALUES, except_paths: Sequence[str] = ()) -> None:
        self.app = app
        self._most_values = most_values
        self._exceptions = [re.compile(pattern) for pattern in except_paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY or not self._is_looked_at(scope):
            await self.app(scope, receive, send)
            return
        messages = await _body_of(receive)
        if _has_more(b"".join(message.get("body", b"") for message in messages), self._most_values):
            error = TooLarge("body_too_complex", f"The body holds more than {self._most_values} values.")
            await problem_response(error, Request(scope))(scope, receive, send)
            return
        waiting = iter(messages)

        async def read_again() -> Message:
            return next(waiting, None) or await receive()

        await self.app(scope, read_again, send)

    def _is_looked_at(self, scope: Scope) -> bool:
        """What says that it is something else than JSON is not parsed as such; what says nothing is."""
        kind = Headers(scope=scope).get("content-type", "application/json").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        return is_json and not any(pattern.fullmatch(scope["path"]) for pattern in self._exceptions)


def _has_more(body: bytes, most_values: int) -> bool:
    """By the marks between values, for a text as bytes; those within texts count only until it matters."""
    return _marks_in(body) > most_values and _marks_in(_TEXT.sub(b"", body)) > most_values


def _marks_in(text: bytes) -> int:
    return sum(text.count(mark) for mark in _MARKS)


async def _body_of(receive: Receive) -> list[Message]:
    """Everything up to its end, or to where the client went away."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages
