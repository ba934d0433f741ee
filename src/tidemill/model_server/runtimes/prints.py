"""What a foreign model prints: to the log, marked as its words and not without end."""

import asyncio
import logging

log = logging.getLogger(__name__)

_MOST_LINES = 200
_MOST_CHARACTERS = 500


async def log_prints(prints: asyncio.StreamReader) -> None:
    """Read until the process has ended; what goes beyond the first lines is read and dropped."""
    count = 0
    while True:
        try:
            line = await prints.readline()
        except ValueError:
            continue  # a line without end; its beginning was dropped by the reader
        if not line:
            return
        count += 1
        if count < _MOST_LINES:
            text = line.decode(errors="replace").rstrip()
            log.info("A model printed", extra={"printed": text[:_MOST_CHARACTERS]})
        elif count == _MOST_LINES:
            log.warning("A model prints more than is logged")
