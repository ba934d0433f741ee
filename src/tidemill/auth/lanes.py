"""Strangers wait in a line of their own, so that a flood of made-up keys leaves the database to those who are known.

A key's id and secret never change, so whoever was found genuine once is known for good; whether the key still holds is
asked of the database every time. Nothing here says yes or no.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable

from tidemill.kit.errors import Unavailable

STRANGERS_AT_ONCE = 3
"""Database connections that those who are not known yet may hold together."""
STRANGERS_WAITING = 200
WAIT_SECONDS = 2.0
_REMEMBERED = 10_000


class CallerLanes:
    """One per process."""

    def __init__(self, at_once: int = STRANGERS_AT_ONCE, waiting: int = STRANGERS_WAITING) -> None:
        self._known: OrderedDict[Hashable, None] = OrderedDict()
        self._turns = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._strangers = 0

    @contextlib.asynccontextmanager
    async def turn(self, credential: Hashable) -> AsyncIterator[None]:
        """The block asks the database about ``credential``; ending without an error makes it known.

        Raises Unavailable while too many strangers wait.
        """
        if credential in self._known:
            self._known.move_to_end(credential)
            yield
            return
        async with self._stranger():
            yield
        self._known[credential] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    @contextlib.asynccontextmanager
    async def _stranger(self) -> AsyncIterator[None]:
        if self._strangers >= self._most:
            raise _crowded()
        self._strangers += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._turns.acquire()
            except TimeoutError:
                raise _crowded() from None
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._strangers -= 1


def _crowded() -> Unavailable:
    return Unavailable("authentication_busy", "Too many unknown callers are asking at once. Try again.")
