"""What the requests that are being answered may take together, claimed before it is taken.

A limit for each request alone bounds nothing while any number of them may come at once. So every request claims what it
is about to take from one budget: each piece of its body as it arrives, what decoding will make of it, the answer. A
claim beyond what one request may have is its own fault (413); one that only the others leave no room for is refused at
once (503, try again): nobody waits holding what others wait for.
"""

import re
import threading
from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit.errors import TooLarge, Unavailable
from tidemill.kit.sizes import format_size

_KEY = "tidemill.request_memory"


class RequestMemory:
    """``limit_bytes`` of all requests together, half of it for each one."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.lock = threading.Lock()

    @property
    def one_request_bytes(self) -> int:
        return self.limit_bytes // 2

    def share(self) -> "MemoryShare":
        return MemoryShare(self)


class MemoryShare:
    """What one request holds. May be used from any thread."""

    def __init__(self, memory: RequestMemory) -> None:
        self._memory = memory
        self._bytes = 0
        self._is_released = False

    def take(self, size_bytes: int) -> None:
        """Claim what is about to be taken. Raises TooLarge beyond one request's part, Unavailable beyond all.

        After the release, as in a thread that outlives its request, nothing can be had any more.
        """
        memory = self._memory
        if self._bytes + size_bytes > memory.one_request_bytes:
            limit = format_size(memory.one_request_bytes)
            raise TooLarge("request_too_large", f"The request takes more than {limit} of memory; send it in parts.")
        with memory.lock:
            if self._is_released or memory.used_bytes + size_bytes > memory.limit_bytes:
                raise Unavailable("memory_busy", "Other requests take the memory that this one needs; try again.")
            self._bytes += size_bytes
            memory.used_bytes += size_bytes

    def release(self) -> None:
        """Give everything back."""
        with self._memory.lock:
            self._memory.used_bytes -= self._bytes
            self._bytes, self._is_released = 0, True


class RequestMemoryMiddleware:
    """Counts bodies as they arrive, and holds a request's claims until its answer is sent.

    ``streamed_paths``: patterns of paths whose bodies go on piece by piece, of any length, and are not counted.
    """

    def __init__(self, app: ASGIApp, memory: RequestMemory, streamed_paths: Sequence[str] = ()) -> None:
        self.app = app
        self._memory = memory
        self._streamed = [re.compile(pattern) for pattern in streamed_paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        share = self._memory.share()
        is_streamed = any(pattern.fullmatch(scope["path"]) for pattern in self._streamed)

        async def counted_receive() -> Message:
            message = await receive()
            share.take(0 if is_streamed else len(message.get("body", b"")))
            return message

        try:
            await self.app({**scope, _KEY: share}, counted_receive, send)
        finally:
            share.release()


def memory_of(request: Request) -> MemoryShare:
    """The share of the request that is being answered."""
    share = request.scope[_KEY]
    assert isinstance(share, MemoryShare)
    return share
