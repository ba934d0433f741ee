"""Reading what somebody else writes without pause, and still leaving time for everything else."""

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO

_DROPPED_BYTES = 1 << 16
_PAUSE_SECONDS = 0.01


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


async def drop_rest(reader: asyncio.StreamReader) -> None:
    """Read to the end what nobody wants any more; whoever writes without pause waits, not those beside it."""
    while True:
        if not await reader.read(_DROPPED_BYTES):
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, of which the first was asked for: what it raises is raised here, before any answer begins."""
    first = await anext(pieces, b"")

    async def again() -> AsyncIterator[bytes]:
        if first:
            yield first
        async for piece in pieces:
            yield piece

    return again()


async def pipe_reader(pipe: BinaryIO, limit_bytes: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A reader of a pipe of ours, with what closes it; lines have at most ``limit_bytes``.

    A pipe that asyncio makes for a process has its `wait` wait for everything that holds the other end, such as what
    the process left running.
    """
    reader = asyncio.StreamReader(limit=limit_bytes)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport
