"""Reading ahead in a thread, so that parsing and converting use two cores."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_STOP_POLL_SECONDS = 0.1


class _End:
    """After the last item."""


class Prefetched(Generic[T]):
    """``items`` made by a thread, at most ``depth`` ahead; errors appear where the items would have.

    A context: the thread ends with the block, at the latest after the item it is at.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._ahead: queue.Queue[T | _End | BaseException] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._ahead.get()
            if isinstance(item, _End):
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _produce(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._stop.is_set():
                    return
            self._put(_End())
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer
            self._put(error)

    def _put(self, item: T | _End | BaseException) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._ahead.put(item, timeout=_STOP_POLL_SECONDS)
                return
