"""Something slow that goes on while something else computes."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Calls ``function`` at once in a thread of its own; `result` waits and gives what it gave or raised."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self._function = function
        self._results: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except Exception as error:  # noqa: BLE001 - raised again where the result is wanted
            self._error = error
