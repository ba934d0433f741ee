"""What lies aside in the state directories of model servers, as one list."""

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tidemill.kit.errors import Conflict, NotFound, Unavailable
from tidemill.kit.trees import remove_tree
from tidemill.model_server.ledger.set_aside import SetAside, read_plain
from tidemill.model_server.quarantine import Quarantine, is_plain, size_of

FILE = "file"
_LONGEST_LINE_BYTES = 1 << 28


@dataclass(frozen=True)
class Found:
    """kind: ``rows`` that can be shipped again, ``retry`` rows that wait for that, ``lost`` rows (a count alone), or a
    ``file`` in quarantine."""

    name: str
    kind: str
    rows: int | None
    size_bytes: int
    since: datetime
    reasons: Mapping[str, int]
    path: Path = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "kind": self.kind,
            "rows": self.rows,
            "size_bytes": self.size_bytes,
            "since": self.since.isoformat(),
            "reasons": dict(self.reasons),
            "path": str(self.path),
        }

    def lines(self, limit: int) -> list[bytes]:
        """At most ``limit``. Raises Conflict for what is no file, or holds a line longer than any of ours."""
        if not is_plain(self.path):
            raise Conflict("set_aside_is_no_file", f"It is no file: look at {self.path}.")
        try:
            with self.path.open("rb") as stream:
                return list(_lines(stream, limit))
        except OSError as error:
            raise _failed(self.path, "read", error) from None

    def retry(self, repaired: bytes | None) -> int:
        """Ship the rows, or what they were mended to, again; how many.

        Of a file in quarantine those are shipped that the ledger wrote, such as of a segment under a strange name.

        Raises Conflict if there are none to ship or they wait for it, Unavailable if the disk fails.
        """
        try:
            if self.kind == FILE:
                return self._take_up(repaired)
            return SetAside(self.path.parent).retry(self.path.stem, repaired)
        except OSError as error:
            raise _failed(self.path, "shipped again", error) from None

    def _take_up(self, repaired: bytes | None) -> int:
        if repaired is not None or not is_plain(self.path):
            raise Conflict("set_aside_not_rows", "Only rows can be shipped again; `discard` clears anything.")
        rows = SetAside(self.path.parents[1] / "ledger" / "rejected").take_up(read_plain(self.path))
        self.path.unlink(missing_ok=True)
        return rows

    def discard(self) -> None:
        """Delete it; something that is gone already is no error.

        Raises Conflict if not all of it could be removed, Unavailable if the disk fails.
        """
        try:
            if self.kind != FILE:
                with contextlib.suppress(NotFound):  # shipped or discarded this moment
                    SetAside(self.path.parent).discard(self.path.stem)
            elif is_plain(self.path, stat.S_IFDIR):
                if not remove_tree(self.path):
                    raise Conflict("set_aside_not_removed", f"Not all of it could be removed: look at {self.path}.")
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(self.path, "deleted", error) from None


def state_folders(given: Path) -> list[Path]:
    """``given``, if a model server uses it, and the slots below it. Raises NotFound if there are none."""
    folders = [given, *sorted(path for path in given.glob("slot-*") if path.is_dir())]
    used = [folder for folder in folders if (folder / "ledger").is_dir() or (folder / "quarantine").is_dir()]
    if not used:
        raise NotFound("state_dir_not_found", f"No model server has used {given}; name its folder with --state-dir.")
    return used


def found_in(state: Path) -> list[Found]:
    """Of one state directory, oldest first."""
    return sorted(itertools.chain(_rows(state), _files(state)), key=lambda found: found.since)


def _rows(state: Path) -> Iterator[Found]:
    folder = state / "ledger" / "rejected"
    for entry in SetAside(folder).entries():
        yield Found(entry.name, entry.kind, entry.rows, entry.size_bytes, entry.set_aside_at, entry.reasons, entry.path)


def _files(state: Path) -> Iterator[Found]:
    for path in Quarantine(state).paths():
        try:
            since = datetime.fromtimestamp(path.lstat().st_ctime, UTC)
        except OSError:
            continue
        reason = "file_damaged" if is_plain(path) else "not_a_file"
        yield Found(path.name, FILE, None, size_of(path), since, {reason: 1}, path)


def _lines(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    for _ in range(limit):
        line = stream.readline(_LONGEST_LINE_BYTES)
        if not line:
            return
        if len(line) == _LONGEST_LINE_BYTES:
            raise Conflict("set_aside_line_too_long", f"A line is longer than {_LONGEST_LINE_BYTES} bytes.")
        yield line.removesuffix(b"\n")


def _failed(path: Path, what: str, error: OSError) -> Unavailable:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return Unavailable("set_aside_disk", f"{path} cannot be {what}: {reason}.")
