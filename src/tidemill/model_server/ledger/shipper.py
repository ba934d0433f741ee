"""Ships closed segments to the api, oldest first, and deletes what the api says is committed."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from tidemill.kit.errors import Invalid, TidemillError, TooLarge
from tidemill.model_server.ledger.lines import read_content
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.schemas.serving import SegmentReceipt

log = logging.getLogger(__name__)

Ship = Callable[[bytes], Awaitable[SegmentReceipt]]
_MOST_BYTES_TOGETHER = 16 * 2**20
_MOST_ROWS_TOGETHER = 100_000
_LONGEST_WAIT_SECONDS = 30.0
_REFUSED_FOR_GOOD = "segment_"
"""Codes of the api that say that a segment can never be taken begin so; others may pass, so they are retried."""


class Segments(Protocol):
    """What a shipper takes from, such as `LedgerWriter`."""

    async def rotate(self) -> None:
        """Close the open segment, if there is one."""

    def closed_segments(self) -> list[int]:
        """Numbers of the segments that are complete, oldest first."""

    def forget(self, number: int, size_bytes: int) -> None:
        """Delete a segment that was shipped."""


class Shipper:
    """``ship`` sends NDJSON and returns when it is committed; it raises TidemillError otherwise."""

    def __init__(self, folder: SegmentFolder, writer: Segments, ship: Ship, interval_seconds: float) -> None:
        self._folder = folder
        self._writer = writer
        self._ship = ship
        self._interval_seconds = interval_seconds
        self.rejected_rows = folder.rejected_rows()
        self.failures = 0
        """In a row; 0 while the api takes what it gets."""

    async def run(self) -> None:
        """Ship until cancelled."""
        while True:
            try:
                await self.ship_waiting()
                self.failures = 0
            except (TidemillError, OSError) as error:
                self.failures += 1
                reason = error.code if isinstance(error, TidemillError) else type(error).__name__
                log.warning("The ledger could not be shipped", extra={"reason": reason, "attempt": self.failures})
            await asyncio.sleep(self._wait_seconds())

    async def ship_waiting(self) -> None:
        """Ship all rows that are on disk now. Raises the first failure; nothing is lost by it."""
        await self._writer.rotate()
        for number in self._writer.closed_segments():
            await self._ship_segment(number)

    def _wait_seconds(self) -> float:
        wait = min(self._interval_seconds * 2.0 ** min(self.failures, 16), _LONGEST_WAIT_SECONDS)
        return wait * random.uniform(0.75, 1.0) if self.failures else wait  # noqa: S311 - servers shall not knock in step

    async def _ship_segment(self, number: int) -> None:
        content = await asyncio.to_thread(self._folder.path(number).read_bytes)
        found = await asyncio.to_thread(read_content, content)
        if found.torn_bytes:
            log.warning("A torn end of a ledger segment was cut", extra={"reason": f"{found.torn_bytes} bytes"})
        aside = list(found.damaged)
        for part in _parts(found.payloads):
            aside += await self._ship_rows(part)
        if aside:
            log.error("Rows of the ledger were set aside", extra={"rows": len(aside)})
            await asyncio.to_thread(self._folder.set_aside, aside)
            self.rejected_rows += len(aside)
        self._writer.forget(number, len(content))

    async def _ship_rows(self, rows: Sequence[bytes]) -> list[bytes]:
        """Rows that the api will never take. A segment refused as a whole is halved until the culprit is found."""
        try:
            receipt = await self._ship(b"\n".join(rows) + b"\n")
        except Invalid as error:
            if not isinstance(error, TooLarge) and not error.code.startswith(_REFUSED_FOR_GOOD):
                raise
            if len(rows) == 1:
                return list(rows)
            middle = len(rows) // 2
            return await self._ship_rows(rows[:middle]) + await self._ship_rows(rows[middle:])
        return [rows[rejected.line - 1] for rejected in receipt.rejected]


def _parts(rows: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for index, row in enumerate(rows):
        if index > start and (size + len(row) > _MOST_BYTES_TOGETHER or index - start >= _MOST_ROWS_TOGETHER):
            yield rows[start:index]
            start, size = index, 0
        size += len(row) + 1
    if start < len(rows):
        yield rows[start:]
