"""Large requests are read, checked and written out beside the event loop, one step at a time.

A thread keeps others from running for as long as one call into a library lasts, and several of them keep the loop
waiting that many times longer. So there is one, and whoever works in it does so in pieces.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Background:
    """The one thread for work on large requests. What waits for it has claimed its memory, which bounds the line."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="large-requests")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in the thread after what came before it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, work)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
