"""What a foreign model prints: to the log, marked as its words and not without end."""

import asyncio
import logging

from tidemill.kit.streams import lines_of

log = logging.getLogger(__name__)

_MOST_LINES = 200
_MOST_CHARACTERS = 500
_DROPPED_BYTES = 1 << 16
_PAUSE_SECONDS = 0.01
"""Between pieces that are dropped: whoever prints without pause waits, not those who are served."""


async def log_prints(prints: asyncio.StreamReader) -> None:
    """Read until the process has ended; what goes beyond the first lines is read and dropped."""
    count = 0
    async for line in lines_of(prints):
        count += 1
        if count == _MOST_LINES:
            log.warning("A model prints more than is logged")
            break
        text = line.decode(errors="replace").rstrip()
        log.info("A model printed", extra={"printed": text[:_MOST_CHARACTERS]})
    while True:
        if not await prints.read(_DROPPED_BYTES):
            return
        await asyncio.sleep(_PAUSE_SECONDS)
