"""What lies aside in the state directories of model servers, as one list."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidemill.kit.errors import Conflict, NotFound
from tidemill.kit.trees import remove_tree
from tidemill.model_server.ledger.set_aside import SetAside
from tidemill.model_server.quarantine import Quarantine, is_plain, size_of


@dataclass(frozen=True)
class Found:
    """kind: ``rows`` that can be shipped again, ``lost`` rows (a count alone), or a ``file`` in quarantine."""

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
        """At most ``limit``. Raises Conflict for a folder."""
        if self.path.is_dir():
            raise Conflict("set_aside_is_folder", f"It is a folder: look at {self.path}.")
        with self.path.open("rb") as lines:
            return [line.rstrip(b"\n") for line in itertools.islice(lines, limit)]

    def retry(self, repaired: bytes | None) -> int:
        """Ship the rows, or what they were mended to, again; how many. Raises Conflict if there are none to ship."""
        if self.kind != "rows":
            raise Conflict("set_aside_not_rows", "Only rows can be shipped again; `discard` clears anything.")
        return SetAside(self.path.parent).retry(self.path.stem, repaired)

    def discard(self) -> None:
        """Delete it; something that is gone already is no error. Raises Conflict if not all of it could be removed."""
        if self.kind != "file":
            SetAside(self.path.parent).discard(self.path.stem)
        elif self.path.is_dir() and not self.path.is_symlink():
            if not remove_tree(self.path):
                raise Conflict("set_aside_not_removed", f"Not all of it could be removed: look at {self.path}.")
        else:
            self.path.unlink(missing_ok=True)


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
        kind, suffix = ("lost", ".json") if entry.lost else ("rows", ".ndjson")
        path = folder / f"{entry.name}{suffix}"
        yield Found(entry.name, kind, entry.rows, entry.size_bytes, entry.set_aside_at, entry.reasons, path)


def _files(state: Path) -> Iterator[Found]:
    for path in Quarantine(state).paths():
        try:
            since = datetime.fromtimestamp(path.lstat().st_ctime, UTC)
        except OSError:
            continue
        reason = "file_damaged" if is_plain(path) else "not_a_file"
        yield Found(path.name, "file", None, size_of(path), since, {reason: 1}, path)
