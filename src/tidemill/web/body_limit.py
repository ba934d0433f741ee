"""Bodies over the limit get 413, whether or not they say how long they are."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit.errors import TooLarge
from tidemill.web.problems import problem_response

_MOST_DIGITS = 19
"""Of numbers below 2**63; a string of thousands is no int to Python."""


class BodyLimitMiddleware:
    """``exceptions``: pairs of a pattern of paths and the limit in bytes that holds there instead."""

    def __init__(self, app: ASGIApp, limit_bytes: int, exceptions: Sequence[tuple[str, int]] = ()) -> None:
        self.app = app
        self._limit_bytes = limit_bytes
        self._exceptions = [(re.compile(pattern), limit) for pattern, limit in exceptions]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit_bytes = self._limit_for(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if _announces_more(announced, limit_bytes):
            await problem_response(_too_large(limit_bytes), Request(scope))(scope, receive, send)
            return
        await _Counted(self.app, limit_bytes)(scope, receive, send)

    def _limit_for(self, path: str) -> int:
        return next((limit for pattern, limit in self._exceptions if pattern.fullmatch(path)), self._limit_bytes)


class _Counted:
    """One request whose body is counted as it is read; what the application answers after the limit is replaced."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self._limit_bytes = limit_bytes
        self._read_bytes = 0
        self._answered = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted_receive() -> Message:
            message = await receive()
            self._read_bytes += len(message.get("body", b""))
            if self._exceeded:
                raise _too_large(self._limit_bytes)
            return message

        async def guarded_send(message: Message) -> None:
            if not self._exceeded or self._answered:
                self._answered = self._answered or message["type"] == "http.response.start"
                await send(message)

        try:
            await self.app(scope, counted_receive, guarded_send)
        except TooLarge:
            if not self._exceeded:
                raise
        if self._exceeded and not self._answered:
            await problem_response(_too_large(self._limit_bytes), Request(scope))(scope, receive, send)

    @property
    def _exceeded(self) -> bool:
        return self._read_bytes > self._limit_bytes


def _announces_more(content_length: str, limit_bytes: int) -> bool:
    """False for what is no number of bytes: then they are counted. Zeros may fill it up to any length."""
    digits = content_length.lstrip("0") or "0"
    if not (digits.isascii() and digits.isdigit()):
        return False
    return len(digits) > _MOST_DIGITS or int(digits) > limit_bytes


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge("body_too_large", f"The body is larger than the limit of {limit_bytes} bytes.")
