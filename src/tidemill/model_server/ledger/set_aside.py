"""Rows of the ledger that could not be shipped, for people to look at, and the record of rows that are lost.

``<digest>.ndjson`` holds lines, ``<digest>.json`` why they are here; ``<digest>-<unique>.retry`` are lines that an
operator wants shipped again, with or without a server on the folder: each is written once and never replaced, so that
whoever has shipped one deletes no other. ``lost-<segment>-<digest>.json`` counts answered rows that damage took. All of
it counts within the ledger's budget, so it is bounded: a full budget refuses predictions.
"""

import contextlib
import errno
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from tidemill.kit.errors import Conflict, Invalid, NotFound
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.kit.ids import uuid7
from tidemill.model_server.disk import sync_directory
from tidemill.model_server.ledger.lines import payload_of
from tidemill.model_server.quarantine import LEAST_BYTES, Quarantine, is_plain, make_plain, open_plain

_LONGEST_RECORD_BYTES = 1 << 16
_LATEST_SECONDS = 2.0**37
"""A moment that datetimes still hold; file systems keep later ones."""
LARGEST_FILE_BYTES = 1 << 30
"""A segment is closed long before, and so large a repair is refused: what is larger must not be read."""
_MOST_COUNTED = 10_000
_COPY_BYTES = 1 << 20


class Kind(StrEnum):
    """What is kept under a name."""

    ROWS = "rows"
    """Lines that could not be shipped."""
    RETRY = "retry"
    """Lines that wait to be shipped again."""
    LOST = "lost"
    """The number of answered rows that are gone."""


_SUFFIXES = {Kind.ROWS: ".ndjson", Kind.RETRY: ".retry", Kind.LOST: ".json"}
_NAMES = {
    Kind.ROWS: re.compile(r"[0-9a-f]{32}"),
    Kind.RETRY: re.compile(r"[0-9a-f]{32}(-[0-9a-f]{32})?"),
    Kind.LOST: re.compile(r"lost-[0-9]{16}-[0-9a-f]{8}"),
}


@dataclass(frozen=True)
class SetAsideEntry:
    """rows: lines that are kept, or answered rows that are gone. reasons: how often, by code."""

    kind: Kind
    path: Path
    rows: int
    size_bytes: int
    set_aside_at: datetime
    reasons: Mapping[str, int]

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class SetAsideTotals:
    """retry_rows: an operator wants them shipped, and they are not yet. size_bytes: of everything."""

    rows: int = 0
    retry_rows: int = 0
    lost_rows: int = 0
    size_bytes: int = 0


class SetAside:
    """The folder ``rejected`` of a ledger; what else lies in place of it is moved to the quarantine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[tuple[str, int, int], int] = {}

    def keep(self, lines: Sequence[bytes], reasons: Mapping[str, int]) -> None:
        """Keep lines durably. The same lines again replace themselves."""
        content = b"".join(line + b"\n" for line in lines)
        name = sha256_of_bytes(b"\n".join(lines))[:32]
        self._write(f"{name}.json", _record(len(lines), reasons))
        self._write(f"{name}.ndjson", content)

    def count_lost(self, segment: int, rows: int, reason: str, marked_at_ns: int) -> None:
        """Remember that answered rows of a segment are gone: once, however often and whenever the same loss is found.

        ``marked_at_ns`` tells segments apart that had the same number at different times.
        """
        digest = sha256_of_bytes(f"{segment}-{rows}-{reason}-{marked_at_ns}".encode())[:8]
        self._write(f"lost-{segment:016d}-{digest}.json", _record(rows, {reason: rows}))

    def totals(self) -> SetAsideTotals:
        rows: Counter[Kind] = Counter()
        size_bytes = 0
        for entry in self.entries():
            rows[entry.kind] += entry.rows
            size_bytes += entry.size_bytes
        return SetAsideTotals(rows[Kind.ROWS], rows[Kind.RETRY], rows[Kind.LOST], size_bytes)

    def entries(self) -> Iterator[SetAsideEntry]:
        """In no particular order; files that are not ours are left out."""
        for path in self._files():
            kind = kind_of(path)
            if kind is None:
                continue
            try:
                yield self._entry(kind, path)
            except FileNotFoundError:
                continue  # discarded or retried this moment

    def lines(self, name: str) -> list[bytes]:
        """What is kept under ``name``. Raises NotFound; a record of lost rows has none."""
        path = self._existing(name)
        return [] if path.suffix == ".json" else read_plain(path).removesuffix(b"\n").split(b"\n")

    def retry(self, name: str, repaired: bytes | None = None) -> int:
        """Have the rows of ``name``, or what they were mended to, shipped by the next pass; how many they are.

        Raises NotFound, Conflict if they wait for that already, or Invalid if no row is left.
        """
        path = self._existing(name)
        kind = kind_of(path)
        if kind is Kind.LOST:
            raise NotFound("set_aside_rows_lost", "Of lost rows nothing is left that could be shipped.")
        if kind is Kind.RETRY:
            raise Conflict("set_aside_waits", "The rows wait to be shipped again; they need no second request.")
        content = repaired if repaired is not None else read_plain(path)
        lines = [line for line in map(shippable, content.split(b"\n")) if line]
        if not lines:
            raise Invalid("set_aside_rows_missing", "No row is left to ship; `discard` deletes what is set aside.")
        self._write(path.name, b"".join(line + b"\n" for line in lines))
        # Renamed rather than copied and deleted: once they can be shipped they may come back under their old name.
        path.rename(self.folder / f"{name}-{uuid7().hex}.retry")
        if not path.exists():
            path.with_suffix(".json").unlink(missing_ok=True)
        sync_directory(self.folder)
        return len(lines)

    def take_up(self, content: bytes) -> int:
        """Have the whole lines of a segment that lay elsewhere shipped by the next pass; how many they are.

        Lines that are not as the ledger wrote them are left out. Raises Invalid if none is left.
        """
        lines = [line for line in map(payload_of, content.split(b"\n")) if line]
        if not lines:
            raise Invalid("set_aside_rows_missing", "It holds no row as the ledger writes them.")
        rows = b"".join(line + b"\n" for line in lines)
        self._write(f"{sha256_of_bytes(rows)[:32]}-{uuid7().hex}.retry", rows)
        return len(lines)

    def discard(self, name: str) -> None:
        """Delete what is kept under ``name``. Raises NotFound."""
        path = self._existing(name)
        path.unlink(missing_ok=True)
        if kind_of(path) is Kind.ROWS:
            path.with_suffix(".json").unlink(missing_ok=True)
        sync_directory(self.folder)

    def waiting_again(self) -> list[Path]:
        """Files of rows that an operator wants shipped, oldest first."""
        found = [path for path in self._files() if kind_of(path) is Kind.RETRY]
        return sorted(found, key=lambda path: path.stem.partition("-")[2])

    def _existing(self, name: str) -> Path:
        for kind, suffix in _SUFFIXES.items():
            path = self.folder / f"{name}{suffix}"
            if _NAMES[kind].fullmatch(name) and is_plain(path):
                return path
        raise NotFound("set_aside_not_found", "Nothing is set aside under this name.")

    def _entry(self, kind: Kind, path: Path) -> SetAsideEntry:
        status = path.lstat()
        record = {} if kind is Kind.RETRY else _read_record(path.with_suffix(".json"))
        rows, reasons = int(record.get("rows", 0)), record.get("reasons", {})
        if kind is not Kind.LOST:
            try:
                rows = self._count(path, status)
            except FileNotFoundError:
                raise
            except OSError:  # it cannot be read, and must not go uncounted
                rows, reasons = max(rows, 1), {**reasons, "unreadable": 1}
        moment = datetime.fromtimestamp(min(max(0.0, status.st_mtime), _LATEST_SECONDS), UTC)
        return SetAsideEntry(kind, path, rows, max(status.st_size, LEAST_BYTES), moment, reasons)

    def _count(self, path: Path, status: os.stat_result) -> int:
        _require_readable(status)
        key = (path.name, status.st_size, status.st_mtime_ns)
        if key not in self._rows:
            if len(self._rows) > _MOST_COUNTED:
                self._rows.clear()
            with open_plain(path) as stream:
                self._rows[key] = _lines_in(stream)
        return self._rows[key]

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if is_plain(path))
        except OSError:
            return []

    def _write(self, name: str, content: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
            sync_directory(self.folder.parent)
        part = self.folder / f"{name}.part"
        with make_plain(part) as out:  # never through a link: an operator may be root, and the folder another user's
            out.write(content)
            if os.geteuid() == 0:  # an operator's command, on the folder of a server that runs as another user
                owner = self.folder.stat()
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.folder / name)
        sync_directory(self.folder)


def shippable(line: bytes) -> bytes:
    """The JSON of a line as the ledger writes it, or the line itself; empty for a blank one."""
    payload = payload_of(line)
    return line.strip() if payload is None else payload


def kind_of(path: Path) -> Kind | None:
    """What a file of the folder keeps, by its name; None for a record beside rows and for what is not ours."""
    return next(
        (kind for kind, suffix in _SUFFIXES.items() if path.suffix == suffix and _NAMES[kind].fullmatch(path.stem)),
        None,
    )


def tidy(folder: Path, quarantine: Quarantine) -> None:
    """At a start: drop what a crash left half written, and move what is not ours to the quarantine."""
    for path in folder.iterdir():
        if path.suffix == ".part" and is_plain(path):
            path.unlink(missing_ok=True)
        elif _is_record(path) and is_plain(path) and not os.path.lexists(path.with_suffix(_SUFFIXES[Kind.ROWS])):
            path.unlink(missing_ok=True)  # written before its rows, or left when they went
        elif not is_plain(path) or not (kind_of(path) or _is_record(path)):
            quarantine.take(path, "stray_among_set_aside_rows")


def read_plain(path: Path) -> bytes:
    """Raises OSError for a link in its place, and for a file larger than any of ours."""
    with open_plain(path) as stream:
        _require_readable(os.fstat(stream.fileno()))
        return stream.read()


def _is_record(path: Path) -> bool:
    return path.suffix == ".json" and _NAMES[Kind.ROWS].fullmatch(path.stem) is not None


def _require_readable(status: os.stat_result) -> None:
    if status.st_size > LARGEST_FILE_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _lines_in(stream: IO[bytes]) -> int:
    """A last line without its end counts. A line may be as long as the file, so it is not held in memory."""
    count, last = 0, b"\n"
    while chunk := stream.read(_COPY_BYTES):
        count += chunk.count(b"\n")
        last = chunk
    return count + (not last.endswith(b"\n"))


def _record(rows: int, reasons: Mapping[str, int]) -> bytes:
    return json.dumps({"rows": rows, "reasons": dict(reasons)}).encode() + b"\n"


def _read_record(path: Path) -> dict[str, Any]:
    """Why lines are here; nothing if the record is missing or damaged, since the lines matter more."""
    try:
        if not is_plain(path) or path.lstat().st_size > _LONGEST_RECORD_BYTES:
            return {}
        record = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or type(record.get("rows")) is not int or record["rows"] < 0:
        return {}
    reasons = record.get("reasons")
    whole = isinstance(reasons, dict) and all(type(count) is int for count in reasons.values())
    return {"rows": record["rows"], "reasons": reasons if whole else {}}
