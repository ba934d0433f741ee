"""How much of a segment was answered: a mark beside each, written after the disk has the rows and before the answer.

A segment alone cannot tell a torn end that nobody was answered for from an answered row that was cut away later. The
mark can: what is missing below it is damage, and is counted; what is torn above it was never answered. It is not synced
each time, so after a power cut it may be older than the segment, never newer.
"""

import contextlib
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from tidemill.model_server.quarantine import open_plain

_LINE = re.compile(rb"([0-9a-f]{8}) ([0-9]{20}) ([0-9]{20})(?: ([0-9a-f]{8}))?\n")


@dataclass(frozen=True, slots=True)
class Mark:
    """The bytes and rows from the segment's begin that were answered.

    checksum: CRC-32 of these bytes; None in marks of earlier releases.
    """

    size_bytes: int
    rows: int
    checksum: int | None = None

    def is_of(self, content: bytes) -> bool:
        """Whether ``content`` begins with what was answered, to the last byte; False if that cannot be told."""
        begin = memoryview(content)[: self.size_bytes]
        return len(begin) == self.size_bytes and self.checksum is not None and zlib.crc32(begin) == self.checksum


class MarkFile:
    """The mark of the open segment."""

    def __init__(self, path: Path) -> None:
        """Make it, durably, for a new segment. Raises OSError, also for what lies there already."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(self._descriptor, _encoded(Mark(0, 0, 0)), 0)
            os.fsync(self._descriptor)
        except OSError:
            self.close()
            raise

    def write(self, mark: Mark) -> None:
        """Of the same length as before, so that it needs no space; one that fails leaves the older mark."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _encoded(mark), 0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def read_mark(path: Path) -> Mark | None:
    """None if there is none, or it is damaged: then nothing is known."""
    try:
        with open_plain(path) as stream:
            found = _LINE.fullmatch(stream.read(80))
    except OSError:
        return None
    if found is None or found[1] != b"%08x" % zlib.crc32(found[2] + found[3] + (found[4] or b"")):
        return None
    return Mark(int(found[2]), int(found[3]), None if found[4] is None else int(found[4], 16))


def _encoded(mark: Mark) -> bytes:
    size, rows, content = b"%020d" % mark.size_bytes, b"%020d" % mark.rows, b"%08x" % (mark.checksum or 0)
    return b"%08x %s %s %s\n" % (zlib.crc32(size + rows + content), size, rows, content)
