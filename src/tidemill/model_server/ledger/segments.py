"""The folder of segments: numbered files, the newest one open for writing, all others waiting to be shipped."""

import contextlib
import os
import re
from pathlib import Path

from tidemill.model_server.disk import sync_directory
from tidemill.model_server.ledger.marks import Mark, MarkFile, read_mark
from tidemill.model_server.ledger.probe import PROBE_NAME
from tidemill.model_server.ledger.set_aside import SetAside, tidy
from tidemill.model_server.quarantine import Quarantine, ensure_folder, is_plain

_SUFFIX = ".wal"
_MARK_SUFFIX = ".mark"
_DIGITS = 16
_NAME = re.compile(r"0[0-9]{15}\.(wal|mark)")
"""A number so large that none can follow it is not one of ours."""


class SegmentFolder:
    """Segments by number, in order. Numbers only grow while segments wait. What is not a segment goes aside."""

    def __init__(self, folder: Path, quarantine: Quarantine | None = None) -> None:
        self.folder = folder
        self.rejected = folder / "rejected"
        self.quarantine = quarantine or Quarantine(folder.parent)
        for path in (folder, self.rejected):
            ensure_folder(path, self.quarantine)
        self.set_aside = SetAside(self.rejected)
        self._tidy()
        sync_directory(folder)
        sync_directory(folder.parent)

    def numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._named(_SUFFIX) if is_plain(path))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:0{_DIGITS}d}{_SUFFIX}"

    def create(self, number: int) -> tuple[int, MarkFile]:
        """A descriptor for appending to a new segment, and its mark; their names are safely on disk."""
        if os.path.lexists(self.path(number)):
            raise FileExistsError(self.path(number).name)
        try:
            mark = MarkFile(self._mark_path(number))
            try:
                return self._opened(number), mark
            except OSError:
                mark.close()
                raise
        except FileExistsError:
            raise  # somebody put it there: it may hold rows
        except OSError:
            with contextlib.suppress(OSError):
                self.delete(number)
            raise

    def _opened(self, number: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.path(number), flags, 0o600)
        try:
            sync_directory(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def mark(self, number: int) -> Mark | None:
        """How much of a segment was answered; None if that is not known."""
        return read_mark(self._mark_path(number))

    def delete(self, number: int) -> None:
        """The mark first: one without its segment means that a segment is missing."""
        self._mark_path(number).unlink(missing_ok=True)
        self.path(number).unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Of all segments together."""
        total = 0
        for number in self.numbers():
            with contextlib.suppress(FileNotFoundError):  # shipped this moment
                total += self.path(number).stat().st_size
        return total

    def oldest_written_at(self) -> float | None:
        """When the oldest segment was last written, in seconds since 1970; None if there is none."""
        for number in self.numbers():
            try:
                status = self.path(number).stat()
            except FileNotFoundError:
                continue  # shipped this moment
            if status.st_size:
                return status.st_mtime
        return None

    def rejected_rows(self) -> int:
        return self.set_aside.totals().rows

    def _mark_path(self, number: int) -> Path:
        return self.folder / f"{number:0{_DIGITS}d}{_MARK_SUFFIX}"

    def _named(self, suffix: str) -> list[Path]:
        return [path for path in self.folder.glob(f"*{suffix}") if _NAME.fullmatch(path.name)]

    def _tidy(self) -> None:
        if is_plain(self.folder / PROBE_NAME):
            (self.folder / PROBE_NAME).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name != self.rejected.name and not (_NAME.fullmatch(path.name) and is_plain(path)):
                self.quarantine.take(path, "stray_among_segments")
        tidy(self.rejected, self.quarantine)
        numbers = set(self.numbers())
        for path in self._named(_MARK_SUFFIX):
            if int(path.stem) not in numbers:
                self._count_missing(path)

    def _count_missing(self, mark_path: Path) -> None:
        mark = read_mark(mark_path)
        if mark is not None and mark.rows:
            self.set_aside.count_lost(int(mark_path.stem), mark.rows, "segment_missing")
        mark_path.unlink(missing_ok=True)
