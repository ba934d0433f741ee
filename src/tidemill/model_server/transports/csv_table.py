"""CSV has no types: its cells are read as the model's signature says, which is what MLflow does with CSV."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.kit.signatures import INVALID, Column, value_of_text
from tidemill.reading.content_type import declared_encoding
from tidemill.reading.detect import Compression, Head, detect_compression
from tidemill.reading.opened import open_text
from tidemill.reading.records import DelimitedText, Record
from tidemill.reading.text import unpacked_chunks
from tidemill.schemas.datasets import IngestOptions

_MAX_PROBLEMS = 100
_MOST_BYTES = 64 * 2**20
"""Of a body once it is unpacked."""
_PIECE_BYTES = 160
"""Of a piece besides what it holds: a body may be millions of frames that hold a byte, or none."""


def unpacked(body: bytes, take: Callable[[int], None]) -> bytes:
    """The body, or what it holds where it is compressed; ``take`` claims memory for that piece by piece.

    Raises Invalid if it is damaged, TooLarge beyond 64 MiB, and what ``take`` raises.
    """
    if detect_compression(Head(body[:4])) is Compression.NONE:
        return body
    pieces: list[bytes] = []  # joined once: what grows in one piece may be moved, and is then there twice each time
    for chunk in unpacked_chunks(io.BytesIO(body), _MOST_BYTES):
        take(_PIECE_BYTES + 2 * len(chunk))  # once in pieces, once as a whole
        pieces.append(chunk)
    return b"".join(pieces)


class CsvTable:
    """A table read as a dataset's file is, with a header or as its names say without one.

    Raises Invalid naming rows (by the line they begin on) and columns, TooLarge for more than ``max_rows`` rows or
    64 MiB once unpacked. ``content_type`` may name the encoding, as in ``text/csv; charset=cp1252``.
    """

    def __init__(self, content: bytes, content_type: str, signature: Sequence[Column], max_rows: int) -> None:
        text = open_text(lambda: io.BytesIO(content), _MOST_BYTES, declared_encoding(content_type))
        found = DelimitedText(text, IngestOptions(), [column.name for column in signature])
        self.warnings = found.warnings
        records = _whole(found, max_rows)
        self._lines = [record.line for record in records]
        self.row_count = len(records)
        self._problems: list[Problem] = []
        self._total = 0
        index = {name: place for place, name in enumerate(found.names)}
        self._columns = {
            column.name: self._typed([record.cells[index[column.name]] for record in records], column)
            for column in signature
            if column.name in index
        }
        if self._total:
            raise Invalid("inputs_invalid", f"{self._total} cells do not fit the model's signature.", self._problems)

    def column(self, name: str) -> Sequence[Any] | None:
        return self._columns.get(name)

    def place(self, row: int, name: str) -> str:
        return f"row {self._lines[row]}, column {name}"

    def place_of_column(self, name: str) -> str:
        return f"column {name}"

    def _typed(self, cells: list[str | None], column: Column) -> list[Any]:
        values = [value_of_text(cell, column) for cell in cells]
        for row, value in enumerate(values):
            if value is INVALID:
                self._total += 1
                if len(self._problems) < _MAX_PROBLEMS:
                    place = self.place(row, column.name)
                    self._problems.append(Problem(place, "type_mismatch", f"No value of the type {column.type}."))
        return values


def _whole(text: DelimitedText, max_rows: int) -> list[Record]:
    """All records. Raises Invalid naming those with too few or too many cells."""
    records: list[Record] = []
    problems: list[Problem] = []
    total = 0
    for record in text.records():
        problem = text.ragged(record)
        if problem is None:
            records.append(record)
        else:
            total += 1
            problems = [*problems, problem][:_MAX_PROBLEMS]
        if len(records) + total > max_rows:
            raise TooLarge("rows_too_many", f"One request may hold at most {max_rows} rows.")
    if problems:
        do = "row does" if total == 1 else "rows do"
        raise Invalid("rows_ragged", f"{total} {do} not have {len(text.names)} fields, as the first one.", problems)
    return records
