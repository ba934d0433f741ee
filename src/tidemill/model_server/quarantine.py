"""Files of a state directory that are not what they should be: moved there under a bounded name, never deleted.

A damaged file must neither end the server nor vanish: what it holds may be all that is left of something. Whoever
looks after the server is told by a log line, a metric and the doctor, and clears it with `tidemill admin ledger`.
"""

import errno
import itertools
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tidemill.kit.ids import uuid7

log = logging.getLogger(__name__)

FOLDER = "quarantine"
LEAST_BYTES = 4096
"""What a file costs at least, so that many small ones are bounded too."""
_LONGEST_NAME = 64
_MOST_COUNTED = 10_000
_BLOCK_BYTES = 512
"""What ``st_blocks`` counts, whatever the file system's own blocks are."""


@dataclass(frozen=True)
class Held:
    """How many files or folders are held, and the bytes that they take."""

    files: int
    size_bytes: int


class Quarantine:
    """The folder ``quarantine`` below a state directory; it is made when it is needed first."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._failed: set[Path] = set()
        """What could not be moved, and lies where it was."""
        self._sizes: dict[str, int] = {}

    def take(self, path: Path, reason: str) -> None:
        """Move ``path`` here. It stays where it is if even that fails, which is told as well."""
        name = f"{uuid7().hex}-{path.name[:_LONGEST_NAME]}"
        fields = {"child": path.name[:_LONGEST_NAME], "reason": reason}
        try:
            if not self.folder.is_dir() and is_plain(self.folder):
                self.folder.rename(self.folder.with_name(name.partition("-")[0]))
            self.folder.mkdir(mode=0o700, exist_ok=True)
            path.rename(self.folder / name)
        except OSError as error:
            log.error("A damaged file stays in place", extra={**fields, "error_type": type(error).__name__})  # noqa: TRY400 - the kind says it
            self._failed.add(path)
        else:
            log.error("A damaged file was moved to the quarantine", extra=fields)
            self._failed.discard(path)

    def held(self) -> Held:
        """What lies here now, and what could not be moved."""
        paths = self.paths()
        known = self._sizes
        self._sizes = {path.name: known.get(path.name) or size_of(path) for path in paths}  # names are never reused
        self._failed = {path for path in self._failed if os.path.lexists(path)}
        return Held(len(paths) + len(self._failed), sum(self._sizes.values()))

    def paths(self) -> list[Path]:
        """Oldest first."""
        try:
            return sorted(self.folder.iterdir())
        except OSError:
            return []


def size_of(path: Path) -> int:
    """What a file, or everything below a folder, takes on disk; no link is followed.

    Of a folder with very much in it what was seen of it: it must not cost a walk through a whole disk to count it.
    """
    waiting, total = [str(path)], 0
    for _ in range(_MOST_COUNTED):
        if not waiting:
            break
        found = waiting.pop()
        total += _taken_by(found)
        try:
            if stat.S_ISDIR(os.lstat(found).st_mode):
                with os.scandir(found) as entries:
                    waiting += [entry.path for entry in itertools.islice(entries, _MOST_COUNTED)]
        except OSError:
            continue  # too deep for a path, or gone: what is above it counts
    return total


def _taken_by(path: str) -> int:
    """A file may say that it is larger than what it takes, if it has holes."""
    try:
        status = os.lstat(path)
    except OSError:
        return LEAST_BYTES
    taken = LEAST_BYTES if stat.S_ISDIR(status.st_mode) else min(status.st_size, status.st_blocks * _BLOCK_BYTES)
    return max(taken, LEAST_BYTES)


def is_plain(path: Path, kind: int = stat.S_IFREG) -> bool:
    """Whether a file (or what ``kind`` says) itself lies there, not a link to one."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except OSError:
        return False


def open_plain(path: Path) -> IO[bytes]:
    """To read. Raises OSError for what is no file itself: nothing waits at a pipe, and no link is followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "This is no file.")


def make_plain(path: Path) -> IO[bytes]:
    """To write. What lies there is replaced, never written through. Raises OSError."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def ensure_folder(path: Path, quarantine: Quarantine) -> None:
    """Make a folder; what else has its name goes to the quarantine. A link to one is an operator's choice and stays."""
    if not path.is_dir() and (path.is_symlink() or path.exists()):
        quarantine.take(path, "not_a_folder")
    path.mkdir(parents=True, exist_ok=True)
