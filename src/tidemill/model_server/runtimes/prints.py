"""What a foreign model prints: to the log, marked as its words and not without end."""

import asyncio
import logging

from tidemill.kit.streams import drop_rest, lines_of

log = logging.getLogger(__name__)

_MOST_LINES = 50
"""A model that does not load prints them anew with every attempt."""
_MOST_CHARACTERS = 500


class Prints:
    """Of one process. Its words are logged until it is asked: from then on they may be somebody's rows."""

    def __init__(self) -> None:
        self._was_asked = False

    def end_of_words(self) -> None:
        self._was_asked = True

    async def log(self, prints: asyncio.StreamReader) -> None:
        """Read until the process has ended; what goes beyond the first lines is read and dropped."""
        count = 0
        async for line in lines_of(prints):
            if self._was_asked:
                log.info("A model prints; what it prints since it is asked is not logged")
                break
            count += 1
            if count == _MOST_LINES:
                log.warning("A model prints more than is logged")
                break
            text = line.decode(errors="replace").rstrip()
            log.info("A model printed", extra={"printed": text[:_MOST_CHARACTERS]})
        await drop_rest(prints)
