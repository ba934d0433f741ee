"""The working index of one backup or check, in a file, so that memory stays bounded however many objects there are."""

import gzip
import sqlite3
import zlib
from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from tidemill.adapters.object_store import StoreEntry
from tidemill.backup.manifest import ObjectLine
from tidemill.backup.references import NamedObject
from tidemill.kit.errors import Invalid

_AT_ONCE = 1000
_MOST_LINE_BYTES = 64 * 2**10
"""No key is as long as that."""
_PRESENT = "INSERT OR REPLACE INTO present VALUES (?, ?)"
_SCHEMA = """
    CREATE TABLE lines (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, line TEXT NOT NULL);
    CREATE INDEX lines_sha256 ON lines (sha256);
    CREATE TABLE present (key TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL);
    CREATE TABLE kept (key TEXT PRIMARY KEY);
    CREATE TABLE named (key TEXT PRIMARY KEY, size_bytes INTEGER, sha256 TEXT, seen INTEGER NOT NULL DEFAULT 0);
"""


class ObjectIndex:
    """Lines of an earlier backup, what a store holds, and what rows name."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add_lines(self, lines: Iterable[ObjectLine]) -> None:
        rows = ((line.key, line.sha256, line.model_dump_json()) for line in lines)
        self._insert("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", rows)

    async def add_present(self, entries: AsyncIterable[StoreEntry]) -> None:
        batch: list[tuple[str, int]] = []
        async for entry in entries:
            batch.append((entry.key, entry.size_bytes))
            if len(batch) >= _AT_ONCE:
                self._insert(_PRESENT, batch)
                batch = []
        self._insert(_PRESENT, batch)

    def _insert(self, statement: str, rows: Iterable[tuple[str | int, ...]]) -> None:
        """All rows or, when reading them fails, none."""
        self._db.execute("BEGIN")
        try:
            self._db.executemany(statement, rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    async def add_named(self, named: AsyncIterable[NamedObject]) -> None:
        """Rows may name an object more than once, and not all of them know its size or hash."""
        async for each in named:
            self._db.execute(
                "INSERT INTO named (key, size_bytes, sha256) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "size_bytes = coalesce(size_bytes, excluded.size_bytes), sha256 = coalesce(sha256, excluded.sha256)",
                (each.key, each.size_bytes, each.sha256),
            )

    def line_of_key(self, key: str) -> ObjectLine | None:
        return self._line("SELECT line FROM lines WHERE key = ?", key)

    def line_of_content(self, sha256: str) -> ObjectLine | None:
        return self._line("SELECT line FROM lines WHERE sha256 = ? LIMIT 1", sha256)

    def _line(self, query: str, value: str) -> ObjectLine | None:
        row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else ObjectLine.model_validate_json(row[0])

    def present_size(self, key: str) -> int | None:
        row = self._db.execute("SELECT size_bytes FROM present WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def named(self, key: str) -> NamedObject | None:
        row = self._db.execute("SELECT key, size_bytes, sha256 FROM named WHERE key = ?", (key,)).fetchone()
        return None if row is None else NamedObject(*row)

    def add_kept(self, keys: Iterable[str]) -> None:
        self._insert("INSERT OR IGNORE INTO kept VALUES (?)", ((key,) for key in keys))

    def is_kept(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM kept WHERE key = ?", (key,)).fetchone() is not None

    def mark_seen(self, key: str) -> None:
        self._db.execute("UPDATE named SET seen = 1 WHERE key = ?", (key,))

    def all_named(self) -> Iterator[NamedObject]:
        yield from (NamedObject(*row) for row in self._db.execute("SELECT key, size_bytes, sha256 FROM named"))

    def unseen(self, limit: int) -> tuple[int, list[str]]:
        """How many named objects were not seen, and the first of them."""
        count = int(self._db.execute("SELECT count(*) FROM named WHERE seen = 0").fetchone()[0])
        rows = self._db.execute("SELECT key FROM named WHERE seen = 0 ORDER BY key LIMIT ?", (limit,))
        return count, [key for (key,) in rows]


def read_lines(path: Path) -> Iterator[ObjectLine]:
    """Of a list of objects as a backup keeps it. Raises Invalid, naming the line, for what is none."""
    number = 0
    try:
        with gzip.open(path, "rb") as stream:
            while line := stream.readline(_MOST_LINE_BYTES + 1):
                number += 1
                yield ObjectLine.model_validate_json(line)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValidationError):
        raise Invalid(
            "backup_damaged", f"The list of objects of the backup ({path.name}) is damaged after line {number}."
        ) from None
