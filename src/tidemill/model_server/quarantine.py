"""Files of a state directory that are not what they should be: moved aside under a bounded name, never deleted.

A damaged file must neither end the server nor vanish: what it holds may be all that is left of something. Whoever
looks after the server is told by a log line, a metric and the doctor, and clears it with `tidemill admin ledger`.
"""

import logging
import stat
from dataclasses import dataclass
from pathlib import Path

from tidemill.kit.ids import uuid7

log = logging.getLogger(__name__)

FOLDER = "quarantine"
LEAST_BYTES = 4096
"""What a file costs at least, so that many small ones are bounded too."""
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Held:
    """How many files or folders are held, and the bytes that they take."""

    files: int
    size_bytes: int


class Quarantine:
    """The folder ``quarantine`` below a state directory; it is made when it is needed first."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._failed = 0

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
            log.error("A damaged file cannot be moved aside", extra={**fields, "error_type": type(error).__name__})  # noqa: TRY400 - the kind says it
            self._failed += 1
        else:
            log.error("A damaged file was moved to the quarantine", extra=fields)

    def held(self) -> Held:
        """What lies here now, and what could not be moved."""
        paths = self.paths()
        return Held(len(paths) + self._failed, sum(size_of(path) for path in paths))

    def paths(self) -> list[Path]:
        """Oldest first."""
        try:
            return sorted(self.folder.iterdir())
        except OSError:
            return []


def size_of(path: Path) -> int:
    """Of a file, or of everything below a folder; no link is followed."""
    total, waiting = 0, [path]
    while waiting:
        size, below = _size_and_below(waiting.pop())
        total += max(size, LEAST_BYTES)
        waiting += below
    return total


def _size_and_below(path: Path) -> tuple[int, list[Path]]:
    try:
        status = path.lstat()
        return (0, list(path.iterdir())) if stat.S_ISDIR(status.st_mode) else (status.st_size, [])
    except OSError:
        return 0, []


def is_plain(path: Path, kind: int = stat.S_IFREG) -> bool:
    """Whether a file (or what ``kind`` says) itself lies there, not a link to one."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except OSError:
        return False


def ensure_folder(path: Path, quarantine: Quarantine) -> None:
    """Make a folder; what else has its name is moved aside. A link to a folder is an operator's choice and stays."""
    if not path.is_dir() and (path.is_symlink() or path.exists()):
        quarantine.take(path, "not_a_folder")
    path.mkdir(parents=True, exist_ok=True)
