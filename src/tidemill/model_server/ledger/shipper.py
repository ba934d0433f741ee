"""Ships closed segments to the api, oldest first, and deletes what the api says is committed."""

import asyncio
import contextlib
import errno
import logging
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tidemill.kit.errors import Invalid, TidemillError, TooLarge, Unavailable
from tidemill.model_server.ledger.lines import SegmentContent, read_content
from tidemill.model_server.ledger.marks import Mark
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.set_aside import LARGEST_FILE_BYTES, SetAsideTotals, read_plain
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

    def count_aside(self) -> None:
        """What is set aside has changed, or may have."""


@dataclass
class _Aside:
    """Lines of one segment that cannot be shipped, and why, by code."""

    lines: list[bytes] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, lines: Sequence[bytes], reason: str) -> None:
        self.lines += lines
        if lines:
            self.reasons[reason] += len(lines)


class Shipper:
    """``ship`` sends NDJSON and returns when it is committed; it raises TidemillError otherwise."""

    def __init__(self, folder: SegmentFolder, writer: Segments, ship: Ship, interval_seconds: float) -> None:
        self._folder = folder
        self._writer = writer
        self._ship = ship
        self._interval_seconds = interval_seconds
        self._aside = folder.set_aside.totals()
        self.failures = 0
        """In a row; 0 while the api takes what it gets."""

    @property
    def aside(self) -> SetAsideTotals:
        """What is set aside and lost, as last counted."""
        return self._aside

    @property
    def rejected_rows(self) -> int:
        return self._aside.rows

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
        """Ship all rows that are on disk now. Raises the first failure; nothing is lost by it.

        A file that cannot be read waits, and holds up no other.
        """
        unreadable: list[OSError] = []
        try:
            await self._writer.rotate()
            for number in await asyncio.to_thread(self._writer.closed_segments):
                with _goes_on(self._folder.path(number), unreadable):
                    await self._ship_segment(number)
            for path in await asyncio.to_thread(self._folder.set_aside.waiting_again):
                with _goes_on(path, unreadable):
                    await self._ship_again(path)
        finally:
            await self._count()
        if unreadable:
            raise unreadable[0]

    async def _count(self) -> None:
        self._aside = await asyncio.to_thread(self._folder.set_aside.totals)
        await asyncio.to_thread(self._writer.count_aside)

    def _wait_seconds(self) -> float:
        wait = min(self._interval_seconds * 2.0 ** min(self.failures, 16), _LONGEST_WAIT_SECONDS)
        return wait * random.uniform(0.75, 1.0) if self.failures else wait  # noqa: S311 - servers shall not knock in step

    async def _ship_segment(self, number: int) -> None:
        path = self._folder.path(number)
        size_bytes = (await asyncio.to_thread(path.lstat)).st_size
        content = await self._content_of(path, size_bytes)
        if content is None:
            self._writer.forget(number, size_bytes)
            return
        found = await asyncio.to_thread(read_content, content)
        mark = await asyncio.to_thread(self._folder.mark, number)
        aside = _Aside()
        aside.add(found.damaged, "line_damaged")
        if found.torn:
            self._look_at_torn(found, len(content), mark, aside)
        for part in _parts(found.payloads):
            await self._ship_rows(part, aside)
        lost = 0 if mark is None or mark.is_of(content) else mark.rows - _different_lines(content[: mark.size_bytes])
        if lost > 0:
            log.error("Answered rows are missing from a segment", extra={"child": str(number), "rows": lost})
            await asyncio.to_thread(self._folder.count_lost, number, lost, "segment_damaged")
        await self._keep(aside)
        self._writer.forget(number, len(content))

    def _look_at_torn(self, found: SegmentContent, size_bytes: int, mark: Mark | None, aside: _Aside) -> None:
        """A torn end above the mark was never answered; any other one may be what is left of an answered row."""
        if mark is not None and size_bytes - found.torn_bytes >= mark.size_bytes:
            log.info(
                "The end of a segment that was never answered was cut", extra={"reason": f"{found.torn_bytes} bytes"}
            )
            return
        aside.add([found.torn], "line_torn")

    async def _ship_again(self, path: Path) -> None:
        """What an operator wants tried again; what is still refused is set aside anew."""
        content = await self._content_of(path, (await asyncio.to_thread(path.lstat)).st_size)
        if content is None:
            return
        aside = _Aside()
        for part in _parts([line for line in content.split(b"\n") if line.strip()]):
            await self._ship_rows(part, aside)
        await self._keep(aside)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _content_of(self, path: Path, size_bytes: int) -> bytes | None:
        """None for a file that is larger than any of ours, which is in the quarantine now. Raises OSError."""
        if size_bytes > LARGEST_FILE_BYTES:
            await asyncio.to_thread(self._folder.quarantine.take, path, "too_large")
            if os.path.lexists(path):
                raise OSError(errno.EFBIG, "The file is too large to be shipped, and stays where it is.")
            return None
        return await asyncio.to_thread(read_plain, path)

    async def _keep(self, aside: _Aside) -> None:
        if not aside.lines:
            return
        log.error("Rows of the ledger were set aside", extra={"rows": len(aside.lines)})
        await asyncio.to_thread(self._folder.set_aside.keep, aside.lines, aside.reasons)
        await self._count()

    async def _ship_rows(self, rows: Sequence[bytes], aside: _Aside) -> None:
        """Adds to ``aside`` what the api will never take: a segment refused as a whole is halved until it is found."""
        try:
            receipt = await self._ship(b"\n".join(rows) + b"\n")
        except Invalid as error:
            if not isinstance(error, TooLarge) and not error.code.startswith(_REFUSED_FOR_GOOD):
                raise
            if len(rows) == 1:
                aside.add(rows, error.code)
                return
            middle = len(rows) // 2
            await self._ship_rows(rows[:middle], aside)
            await self._ship_rows(rows[middle:], aside)
            return
        if not receipt.accounts_for(len(rows)):
            detail = "The api's receipt does not account for the rows that it was sent."
            raise Unavailable("api_receipt_wrong", detail)
        for rejected in receipt.rejected:
            aside.add([rows[rejected.line - 1]], rejected.code)


@contextlib.contextmanager
def _goes_on(path: Path, failures: list[OSError]) -> Iterator[None]:
    """One file that cannot be read, set aside or deleted holds up no other; one that has vanished is no failure."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
            log.warning("A file of the ledger vanished before it was shipped", extra={"child": path.name})
            return
        log.error("A file of the ledger cannot be shipped", extra={"child": path.name, "reason": error.errno})  # noqa: TRY400 - the number says it
        failures.append(error)


def _different_lines(content: bytes) -> int:
    """Whole ones. Hardly a row is written twice, so one that is there twice stands in the place of another."""
    return len(set(content.split(b"\n")[:-1]))


def _parts(rows: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for index, row in enumerate(rows):
        if index > start and (size + len(row) > _MOST_BYTES_TOGETHER or index - start >= _MOST_ROWS_TOGETHER):
            yield rows[start:index]
            start, size = index, 0
        size += len(row) + 1
    if start < len(rows):
        yield rows[start:]
