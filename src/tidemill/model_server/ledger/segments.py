"""The folder of segments: numbered files, the newest one open for writing, all others waiting to be shipped."""

import contextlib
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tidemill.model_server.disk import Preparation, sync_directory
from tidemill.model_server.ledger.marks import Mark, MarkFile, read_mark
from tidemill.model_server.ledger.probe import PROBE_NAME
from tidemill.model_server.ledger.set_aside import SetAside, read_plain, tidy
from tidemill.model_server.quarantine import Quarantine, ensure_folder, is_plain

_SUFFIX = ".wal"
_MARK_SUFFIX = ".mark"
_DIGITS = 16
_NAME = re.compile(r"[0-9]{16}\.(wal|mark)")
_LARGEST_NUMBER = 10**_DIGITS - 1


class SegmentFolder:
    """Segments by number, in order. Numbers only grow while segments wait, up to the last one, after which the first
    that is free follows. What is not a segment goes aside. Where the disk cannot be written at a start, `prepared`
    makes up for it before the first segment is made."""

    def __init__(self, folder: Path, quarantine: Quarantine | None = None) -> None:
        self.folder = folder
        self.rejected = folder / "rejected"
        self.quarantine = quarantine or Quarantine(folder.parent)
        self.set_aside = SetAside(self.rejected)
        self.prepared = Preparation(self._prepare)

    def _prepare(self) -> None:
        for path in (self.folder, self.rejected):
            ensure_folder(path, self.quarantine)
        self._tidy()
        sync_directory(self.folder)
        sync_directory(self.folder.parent)

    def numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._named(_SUFFIX) if is_plain(path))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:0{_DIGITS}d}{_SUFFIX}"

    def number_after(self, number: int) -> int:
        """For the next segment."""
        if number < _LARGEST_NUMBER:
            return number + 1
        taken = {int(path.stem) for suffix in (_SUFFIX, _MARK_SUFFIX) for path in self._named(suffix)}
        return next(free for free in itertools.count(1) if free not in taken)

    def create(self, number: int) -> tuple[int, MarkFile]:
        """A descriptor for appending to a new segment, and its mark; their names are safely on disk."""
        self.prepared.ensure()
        if os.path.lexists(self.path(number)):
            raise FileExistsError(self.path(number).name)
        self._clear_mark(number)
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

    def _clear_mark(self, number: int) -> None:
        """What a mark of that number tells of a segment that vanished is kept before it is written over."""
        path = self._mark_path(number)
        if is_plain(path):
            self._count_missing(path)
        elif os.path.lexists(path):
            self.quarantine.take(path, "not_a_file")

    def _opened(self, number: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.path(number), flags, 0o600)
        try:
            sync_directory(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def is_in_place(self, number: int, descriptor: int) -> bool:
        """Whether a segment's path still leads to what is open: it was not deleted, renamed or covered by a mount."""
        found, opened = _status(self.path(number)), os.fstat(descriptor)
        return found is not None and (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)

    def forget_mark(self, number: int) -> None:
        """Of a segment that is gone, and whose rows are in another one."""
        with contextlib.suppress(OSError):
            self._mark_path(number).unlink(missing_ok=True)

    def mark(self, number: int) -> Mark | None:
        """How much of a segment was answered; None if that is not known."""
        return read_mark(self._mark_path(number))

    def delete(self, number: int) -> None:
        """The mark first: one without its segment means that a segment is missing."""
        self._mark_path(number).unlink(missing_ok=True)
        self.path(number).unlink(missing_ok=True)

    def count_lost(self, number: int, rows: int, reason: str) -> None:
        """Remember that answered rows of a segment are gone, before its mark is."""
        mark_path = self._mark_path(number)
        marked_at_ns = mark_path.lstat().st_mtime_ns if os.path.lexists(mark_path) else 0
        self.set_aside.count_lost(number, rows, reason, marked_at_ns)

    def size_bytes(self, numbers: Iterable[int] | None = None) -> int:
        """Of some segments together, by default of all."""
        paths = map(self.path, self.numbers() if numbers is None else numbers)
        return sum(status.st_size for path in paths if (status := _status(path)))

    def count_missing(self, spared: Collection[int] = ()) -> None:
        """Count answered rows of segments that have vanished: a mark without its segment; none is made meanwhile.

        Those of ``spared`` are still being saved by whoever had them open.
        """
        for path in self._named(_MARK_SUFFIX):
            if int(path.stem) not in spared and not os.path.lexists(path.with_suffix(_SUFFIX)):
                self._count_missing(path)

    def oldest_written_at(self) -> float | None:
        """When the oldest rows that wait to be shipped, or shipped again, were written; seconds since 1970 or None."""
        segments, again = map(self.path, self.numbers()), self.set_aside.waiting_again()
        found = (next(_written_at(paths), None) for paths in (segments, again))
        return min((moment for moment in found if moment is not None), default=None)

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
        self.count_missing()

    def _count_missing(self, mark_path: Path) -> None:
        mark = read_mark(mark_path)
        if mark is not None and mark.rows:
            if (renamed := self._renamed(mark)) is not None:
                mark_path.rename(renamed.with_suffix(_MARK_SUFFIX))
                return
            self.count_lost(int(mark_path.stem), mark.rows, "segment_missing")
        mark_path.unlink(missing_ok=True)

    def _renamed(self, mark: Mark) -> Path | None:
        """A segment without a mark that holds just what ``mark`` says: the one that it was beside."""
        for path in map(self.path, self.numbers()):
            status = _status(path)
            if status is None or status.st_size != mark.size_bytes or os.path.lexists(path.with_suffix(_MARK_SUFFIX)):
                continue
            with contextlib.suppress(OSError):  # one that cannot be read is told of when it is shipped
                content = read_plain(path)
                if mark.is_of(content) or (mark.checksum is None and content.count(b"\n") == mark.rows):
                    return path
        return None


def _written_at(paths: Iterable[Path]) -> Iterator[float]:
    """Of those that are not empty."""
    return (status.st_mtime for path in paths if (status := _status(path)) and status.st_size)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None  # shipped this moment
