"""Ending tasks that run in the background."""

import asyncio
from typing import Any

_AGAIN_SECONDS = 1.0


async def end_tasks(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel every task until it has ended; what each returned or raised, in order.

    Once is not enough. A cancellation that meets a driver in the middle of its own cleanup can come out of it as an
    ordinary error, which a loop made to outlive errors takes for a bad round, and goes on.
    """
    open_tasks = {task for task in tasks if not task.done()}
    while open_tasks:
        for task in open_tasks:
            task.cancel()
        _, open_tasks = await asyncio.wait(open_tasks, timeout=_AGAIN_SECONDS)
    return await asyncio.gather(*tasks, return_exceptions=True)
