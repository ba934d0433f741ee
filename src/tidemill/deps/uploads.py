"""How many files one process of the api takes in, and reads, at the same time."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from tidemill.kit.errors import Unavailable

_PATIENCE_SECONDS = 60
T = TypeVar("T")


class Uploads:
    """The files that this process takes in now: each has buffers, and a share of the disk that no row names."""

    def __init__(self) -> None:
        self._by_key: Counter[str] = Counter()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextlib.contextmanager
    def one(self, key_id: str, most: int) -> Iterator[None]:
        """While the block runs, one more. Raises Unavailable for more than ``most``, or half of them for one key."""
        if self._by_key.total() >= most or self._by_key[key_id] >= max(1, most // 2):
            raise Unavailable("uploads_busy", "Too many files are being sent at once; try again.")
        self._by_key[key_id] += 1
        try:
            yield
        finally:
            self._by_key[key_id] -= 1
            if not self._by_key[key_id]:
                del self._by_key[key_id]
                self._reading.pop(key_id, None)

    @contextlib.asynccontextmanager
    async def reading(self, key_id: str) -> AsyncIterator[None]:
        """Within `one`: the block reads a part of a file, which nobody else with the key does meanwhile, since a thread
        that reads takes turns with everybody else. Raises Unavailable if those before take too long."""
        lock = self._reading[key_id]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise Unavailable("uploads_busy", "Other files of the key are being read; try again.") from None
        try:
            yield
        finally:
            lock.release()

    async def in_turn(self, key_id: str, pieces: AsyncIterator[T]) -> AsyncIterator[T]:
        """``pieces``, each read within `reading`: a large file does not keep the key's others waiting to its end."""
        while True:
            async with self.reading(key_id):
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            yield piece


def get_uploads(request: Request) -> Uploads:
    uploads = request.app.state.uploads
    assert isinstance(uploads, Uploads)
    return uploads


UploadsDep = Annotated[Uploads, Depends(get_uploads)]
