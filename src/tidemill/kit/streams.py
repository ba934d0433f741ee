"""Reading what somebody else writes without pause, and still leaving time for everything else."""

import asyncio
from collections.abc import AsyncIterator


async def lines_of(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines until the end, after each of which everybody else has a turn: a reader whose buffer is full gives none.

    Of a line that is longer than the reader's limit the beginning is dropped.
    """
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            line = None
        if line == b"":
            return
        if line is not None:
            yield line
        await asyncio.sleep(0)
