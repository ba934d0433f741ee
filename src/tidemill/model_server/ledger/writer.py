"""Group commit: one thread writes what concurrent requests hand in, waits for the disk once, and answers them all.

A request is answered only after its rows are on disk. What cannot be written is cut off again, so that a segment never
holds half a line in its middle.
"""

import asyncio
import contextlib
import errno
import logging
import os
import queue
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from tidemill.kit.errors import Unavailable
from tidemill.model_server.ledger.marks import Mark, MarkFile
from tidemill.model_server.ledger.probe import DiskProbe
from tidemill.model_server.ledger.segments import SegmentFolder

log = logging.getLogger(__name__)

_MOST_REQUESTS_TOGETHER = 1024
_MOST_QUEUED = 8192
_CLOSE_TIMEOUT_SECONDS = 30
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class LedgerLimits:
    """max_bytes: of rows on disk, unshipped and set aside, and of damaged files.

    segment_bytes: when a segment is closed. sync: wait for the disk.
    """

    max_bytes: int
    segment_bytes: int = 8 * 2**20
    sync: bool = True


@dataclass(frozen=True, slots=True)
class _Rows:
    lines: bytes
    written: Future[None]


@dataclass(frozen=True, slots=True)
class _Rotate:
    done: Future[None]


class _Stop:
    pass


class LedgerWriter:
    """Appends rows durably. One writer per folder."""

    def __init__(self, folder: SegmentFolder, limits: LedgerLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._queue: queue.Queue[_Rows | _Rotate | _Stop] = queue.Queue(_MOST_QUEUED)
        self._number = max(folder.numbers(), default=0)
        self._descriptor: int | None = None
        self._mark: MarkFile | None = None
        self._size = self._rows = self._checksum = 0
        self._closed_bytes = folder.size_bytes()
        self._aside_bytes = _aside_bytes(folder)
        self._unplaced = b""
        self._vanished: dict[int, int] = {}
        """Segments that those rows are from, and how many of theirs are lost: until the former are written anew and the
        latter counted, a mark is all that tells of them."""
        self._probe = DiskProbe(folder.folder, folder.prepared.ensure)
        if folder.prepared.failure is not None:
            self._probe.failed(0)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """On disk and not shipped, and what is saved from a segment that vanished."""
        return self._closed_bytes + self._size + len(self._unplaced)

    @property
    def is_full(self) -> bool:
        """Whether what waits and what is set aside take all that they may."""
        return self.waiting_bytes + self._aside_bytes >= self._limits.max_bytes

    @property
    def aside_bytes(self) -> int:
        """Set aside or in quarantine, as last counted."""
        return self._aside_bytes

    def count_aside(self) -> None:
        """Count again what is set aside or gone; whoever puts something there, or may have cleared it, calls this."""
        with self._lock:
            self._folder.count_missing(self._ours)
        self._aside_bytes = _aside_bytes(self._folder)

    @property
    def _ours(self) -> frozenset[int]:
        """Segments that nobody else looks at yet: the open one, and those that vanished while they were open."""
        return frozenset(self._vanished.keys() | ({self._number} if self._descriptor is not None else set()))

    def is_writable(self) -> bool:
        """Whether the disk takes rows; after a write that failed it is tried again. Blocks for a moment."""
        return self._probe.passes()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def closed_segments(self) -> list[int]:
        """Numbers of the segments that are complete, oldest first. Their sizes are counted again, as they are now."""
        with self._lock:
            ours = self._ours
            numbers = [number for number in self._folder.numbers() if number not in ours]
            self._closed_bytes = self._folder.size_bytes(numbers)
            return numbers

    async def append(self, lines: bytes) -> None:
        """Return when ``lines`` are on disk. Raises Unavailable, and then they are not in the ledger.

        A request that is cancelled meanwhile may be in the ledger all the same.
        """
        if self.is_full:
            detail = "Too many predictions wait to be shipped or are set aside; none is answered unrecorded."
            raise Unavailable("ledger_full", detail)
        rows = _Rows(lines, Future())
        self._put(rows)
        await asyncio.wrap_future(rows.written)

    async def rotate(self) -> None:
        """Close the open segment, so that it can be shipped; does nothing if none is open."""
        request = _Rotate(Future())
        self._put(request)
        await asyncio.wrap_future(request.done)

    def forget(self, number: int, size_bytes: int) -> None:
        """A shipped segment: delete it."""
        self._folder.delete(number)
        with self._lock:
            self._closed_bytes -= size_bytes

    def close(self) -> None:
        """Write what is queued and end. Nothing may be appended any more."""
        self._queue.put(_Stop())
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    def _put(self, item: _Rows | _Rotate) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            raise Unavailable("ledger_busy", "The ledger's disk is too slow for so many requests.") from None

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = self._next_batch()
            rows = [item for item in batch if isinstance(item, _Rows)]
            stopping = any(isinstance(item, _Stop) for item in batch)
            if rows:
                self._commit(rows)
            rotations = [item for item in batch if isinstance(item, _Rotate)]
            if rotations or stopping or self._size >= self._limits.segment_bytes:
                self._close_segment()
            self._place()
            for item in rotations:
                _settle(item.done)

    def _next_batch(self) -> list[_Rows | _Rotate | _Stop]:
        """No more than fills a segment, however much waits: a segment is read as a whole when it is shipped."""
        batch = [self._queue.get()]
        size = _size_of(batch[0])
        with contextlib.suppress(queue.Empty):
            while len(batch) < _MOST_REQUESTS_TOGETHER and size < self._limits.segment_bytes:
                batch.append(self._queue.get_nowait())
                size += _size_of(batch[-1])
        return batch

    def _commit(self, rows: Sequence[_Rows]) -> None:
        content = b"".join(item.lines for item in rows)
        try:
            self._write(content)
        except OSError as error:
            self._fail(error, len(content))
            failure = Unavailable("ledger_unavailable", "The ledger cannot be written; no prediction is answered.")
            for item in rows:
                _settle(item.written, failure)
            return
        self._probe.succeeded(len(content))
        for item in rows:
            _settle(item.written)

    def _write(self, content: bytes) -> None:
        if self._descriptor is None:
            self._open_segment()
        assert self._descriptor is not None
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._limits.sync:
            os.fdatasync(self._descriptor)
        if not self._folder.is_in_place(self._number, self._descriptor):
            raise OSError(errno.ESTALE, "The open segment is gone.")  # what is written there is never shipped
        self._size += len(content)
        self._rows += content.count(b"\n")
        self._checksum = zlib.crc32(content, self._checksum)
        assert self._mark is not None
        self._mark.write(Mark(self._size, self._rows, self._checksum))

    def _fail(self, error: OSError, size_bytes: int) -> None:
        log.error("The ledger cannot be written", extra={"error_type": type(error).__name__, "reason": error.errno})
        self._probe.failed(size_bytes)
        self._abandon()

    def _save_vanished(self) -> None:
        """Take what was answered out of the open segment if its name no longer leads to it, while it is still open.

        Whoever deleted or renamed it, or put another disk over it, took rows from the ledger that callers rely on.
        """
        if self._descriptor is None or self._size == 0:
            return
        try:
            if self._folder.is_in_place(self._number, self._descriptor):
                return
            found = _read(self._descriptor, self._size)
        except OSError as error:
            log.error("A segment that vanished cannot be read", extra={"reason": error.errno, "rows": self._rows})  # noqa: TRY400 - the number says it
            found = b""
        is_whole = len(found) == self._size and zlib.crc32(found) == self._checksum
        lost = 0 if is_whole else max(0, self._rows - found.count(b"\n"))
        log.error("The open segment vanished; its rows are written anew", extra={"rows": self._rows - lost})
        self._unplaced += found
        with self._lock:
            self._vanished[self._number] = lost

    def _place(self) -> None:
        """Write what was saved from a segment that vanished; what cannot be written is tried again at every turn."""
        if self._unplaced:
            content, self._unplaced = self._unplaced, b""
            try:
                self._write(content)
            except OSError as error:
                self._fail(error, len(content))
                self._unplaced = content + self._unplaced
                return
            self._close_segment()
        if not self._unplaced:
            self._settle_vanished()

    def _settle_vanished(self) -> None:
        """What could be saved is written; what could not is counted before the mark goes that tells of it."""
        for number, lost in list(self._vanished.items()):
            try:
                if lost:
                    log.error("Answered rows are missing from a segment", extra={"child": str(number), "rows": lost})
                    self._folder.count_lost(number, lost, "segment_missing")
                self._folder.forget_mark(number)
            except OSError:
                continue  # at the next turn
            with self._lock:
                del self._vanished[number]

    def _open_segment(self) -> None:
        with self._lock:
            self._number = self._folder.number_after(self._number)
            self._size = self._rows = self._checksum = 0
            self._descriptor, self._mark = self._folder.create(self._number)

    def _abandon(self) -> None:
        """After a failed write nothing is known about the file's end: cut it and go on in a new segment."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if (
                    os.fstat(self._descriptor).st_size > self._size
                ):  # to make it longer would put zeros in place of rows
                    os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
        self._close_segment()

    def _close_segment(self) -> None:
        self._save_vanished()
        with self._lock:
            if self._descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(self._descriptor)
            if self._mark is not None:
                self._mark.close()
            self._closed_bytes += self._size
            self._descriptor, self._mark, self._size = None, None, 0


def _aside_bytes(folder: SegmentFolder) -> int:
    return folder.set_aside.totals().size_bytes + folder.quarantine.held().size_bytes


def _read(descriptor: int, size_bytes: int) -> bytes:
    """From the begin of an open segment; less if it was cut."""
    parts, at = [], 0
    while at < size_bytes:
        part = os.pread(descriptor, min(size_bytes - at, _READ_BYTES), at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _size_of(item: _Rows | _Rotate | _Stop) -> int:
    return len(item.lines) if isinstance(item, _Rows) else 0


def _settle(future: Future[None], failure: Exception | None = None) -> None:
    """Answer a waiting request, unless it was cancelled meanwhile."""
    if future.set_running_or_notify_cancel():
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
