"""How many files one process of the api takes in at the same time."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request

from tidemill.kit.errors import Unavailable


class Uploads:
    """The files that this process takes in now: each has buffers, and a share of the disk that no row names."""

    def __init__(self) -> None:
        self._by_key: Counter[str] = Counter()

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


def get_uploads(request: Request) -> Uploads:
    uploads = request.app.state.uploads
    assert isinstance(uploads, Uploads)
    return uploads


UploadsDep = Annotated[Uploads, Depends(get_uploads)]
