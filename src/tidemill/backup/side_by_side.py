"""How many objects are copied at once, in both directions."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar

BATCH = 64
SIDE_BY_SIDE = 8
_LARGE_BYTES = 64 * 2**20
T = TypeVar("T")


class SideBySide:
    """Small objects go side by side, large ones one at a time, so that scratch needs room for one of these."""

    def __init__(self) -> None:
        self._few = asyncio.Semaphore(SIDE_BY_SIDE)
        self._one_large = asyncio.Lock()

    @asynccontextmanager
    async def room_for(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs."""
        async with self._few:
            if size_bytes < _LARGE_BYTES:
                yield
                return
            async with self._one_large:
                yield


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """So many at a time that few tasks wait, however many objects there are."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
