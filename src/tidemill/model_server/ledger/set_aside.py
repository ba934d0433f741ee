"""Rows of the ledger that could not be shipped, for people to look at, and the record of rows that are lost.

``<digest>.ndjson`` holds lines, ``<digest>.json`` why they are here; ``<digest>.retry`` are lines that an operator
wants shipped again, with or without a server on the folder. ``lost-<segment>-<digest>.json`` counts answered rows that
damage took. All of it counts within the ledger's budget, so it is bounded: a full budget refuses predictions.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, NotFound
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.model_server.disk import sync_directory
from tidemill.model_server.ledger.lines import payload_of
from tidemill.model_server.quarantine import LEAST_BYTES, Quarantine, is_plain

_NAME = re.compile(r"[0-9a-f]{32}|lost-[0-9]{16}-[0-9a-f]{8}")
_LONGEST_RECORD_BYTES = 1 << 16
_LATEST_SECONDS = 2.0**37
"""A moment that datetimes still hold; file systems keep later ones."""


@dataclass(frozen=True)
class SetAsideEntry:
    """rows: lines that are kept, or, where ``lost``, answered rows that are gone. reasons: how often, by code."""

    name: str
    rows: int
    size_bytes: int
    set_aside_at: datetime
    reasons: Mapping[str, int]
    lost: bool = False


@dataclass(frozen=True)
class SetAsideTotals:
    rows: int = 0
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

    def count_lost(self, segment: int, rows: int, reason: str) -> None:
        """Remember that answered rows of a segment are gone."""
        digest = sha256_of_bytes(f"{segment}-{rows}-{reason}-{utc_now():%Y%m%d}".encode())[:8]
        self._write(f"lost-{segment:016d}-{digest}.json", _record(rows, {reason: rows}))

    def totals(self) -> SetAsideTotals:
        entries = list(self.entries())
        return SetAsideTotals(
            sum(entry.rows for entry in entries if not entry.lost),
            sum(entry.rows for entry in entries if entry.lost),
            sum(entry.size_bytes for entry in entries),
        )

    def entries(self) -> Iterator[SetAsideEntry]:
        """In no particular order; files that are not ours are left out."""
        for path in self._files():
            if path.suffix not in (".ndjson", ".json") or not _NAME.fullmatch(path.stem):
                continue
            if path.suffix == ".json" and not path.stem.startswith("lost-"):
                continue
            try:
                yield self._entry(path)
            except FileNotFoundError:
                continue  # discarded or retried this moment

    def lines(self, name: str) -> list[bytes]:
        """What is kept under ``name``. Raises NotFound; a record of lost rows has none."""
        path = self._existing(name)
        return [] if path.suffix == ".json" else _read_plain(path).splitlines()

    def retry(self, name: str, repaired: bytes | None = None) -> int:
        """Have the rows of ``name``, or what they were mended to, shipped by the next pass; how many they are.

        Raises NotFound, or Invalid if no row is left.
        """
        path = self._existing(name)
        if path.suffix == ".json":
            raise NotFound("set_aside_rows_lost", "Of lost rows nothing is left that could be shipped.")
        content = repaired if repaired is not None else _read_plain(path)
        lines = [shippable(line) for line in content.split(b"\n")]
        if not any(lines):
            raise Invalid("set_aside_rows_missing", "No row is left to ship; `discard` deletes what is set aside.")
        self._write(f"{name}.retry", b"".join(line + b"\n" for line in lines if line))
        self.discard(name)
        return sum(1 for line in lines if line)

    def discard(self, name: str) -> None:
        """Delete what is kept under ``name``. Raises NotFound."""
        self._existing(name).unlink(missing_ok=True)
        if not name.startswith("lost-"):
            (self.folder / f"{name}.json").unlink(missing_ok=True)
        sync_directory(self.folder)

    def waiting_again(self) -> list[Path]:
        """Files of rows that an operator wants shipped."""
        return [path for path in self._files() if path.suffix == ".retry" and _NAME.fullmatch(path.stem)]

    def _existing(self, name: str) -> Path:
        suffix = ".json" if name.startswith("lost-") else ".ndjson"
        path = self.folder / f"{name}{suffix}"
        if not _NAME.fullmatch(name) or not is_plain(path):
            raise NotFound("set_aside_not_found", "Nothing is set aside under this name.")
        return path

    def _entry(self, path: Path) -> SetAsideEntry:
        status = path.stat()
        record = _read_record(path.with_suffix(".json"))
        lost = path.suffix == ".json"
        rows = int(record.get("rows", 0)) if lost else self._count(path, status)
        moment = datetime.fromtimestamp(min(max(0.0, status.st_mtime), _LATEST_SECONDS), UTC)
        reasons = record.get("reasons", {})
        return SetAsideEntry(path.stem, rows, max(status.st_size, LEAST_BYTES), moment, reasons, lost)

    def _count(self, path: Path, status: os.stat_result) -> int:
        key = (path.name, status.st_size, status.st_mtime_ns)
        if key not in self._rows:
            if len(self._rows) > 10_000:
                self._rows.clear()
            with path.open("rb") as lines:
                self._rows[key] = sum(1 for _ in lines)
        return self._rows[key]

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if is_plain(path))
        except OSError:
            return []

    def _write(self, name: str, content: bytes) -> None:
        part = self.folder / f"{name}.part"
        part.unlink(missing_ok=True)
        # Never through a link: an operator may be root, and the folder is another user's.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
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


def tidy(folder: Path, quarantine: Quarantine) -> None:
    """At a start: drop what a crash left half written, and move aside what is not ours."""
    for path in folder.iterdir():
        if path.suffix == ".part" and is_plain(path):
            path.unlink(missing_ok=True)
        elif not is_plain(path) or path.suffix not in (".ndjson", ".json", ".retry") or not _NAME.fullmatch(path.stem):
            quarantine.take(path, "stray_among_set_aside_rows")


def _read_plain(path: Path) -> bytes:
    """Raises OSError for a link in its place."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        return stream.read()


def _record(rows: int, reasons: Mapping[str, int]) -> bytes:
    return json.dumps({"rows": rows, "reasons": dict(reasons)}).encode() + b"\n"


def _read_record(path: Path) -> dict[str, Any]:
    """Why lines are here; nothing if the record is missing or damaged, since the lines matter more."""
    try:
        if path.stat().st_size > _LONGEST_RECORD_BYTES:
            return {}
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or type(record.get("rows")) is not int or record["rows"] < 0:
        return {}
    reasons = record.get("reasons")
    whole = isinstance(reasons, dict) and all(type(count) is int for count in reasons.values())
    return {"rows": record["rows"], "reasons": reasons if whole else {}}
