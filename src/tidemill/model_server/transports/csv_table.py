"""CSV has no types: its cells are read as the model's signature says, which is what MLflow does with CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.signatures import INVALID, Column, value_of_text

_MAX_PROBLEMS = 100


class CsvTable:
    """A table with a header line. Raises Invalid naming rows (counted from 1 below the header) and columns."""

    def __init__(self, content: bytes, signature: Sequence[Column]) -> None:
        header, rows = _read(content)
        self._problems: list[Problem] = []
        self._total = 0
        self.row_count = len(rows)
        index = {name: place for place, name in enumerate(header)}
        self._columns = {
            column.name: self._typed([row[index[column.name]] for row in rows], column)
            for column in signature
            if column.name in index
        }
        if self._total:
            raise Invalid("inputs_invalid", f"{self._total} cells do not fit the model's signature.", self._problems)

    def column(self, name: str) -> Sequence[Any] | None:
        return self._columns.get(name)

    def place(self, row: int, name: str) -> str:
        return f"row {row + 1}, column {name}"

    def place_of_column(self, name: str) -> str:
        return f"column {name}"

    def _typed(self, cells: list[str], column: Column) -> list[Any]:
        values = [value_of_text(cell, column) for cell in cells]
        for row, value in enumerate(values):
            if value is INVALID:
                self._total += 1
                if len(self._problems) < _MAX_PROBLEMS:
                    place = self.place(row, column.name)
                    self._problems.append(Problem(place, "type_mismatch", f"No value of the type {column.type}."))
        return values


def _read(content: bytes) -> tuple[list[str], list[list[str]]]:
    try:
        text = content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError:
        raise Invalid("csv_not_utf8", "The CSV is not UTF-8.") from None
    except csv.Error:
        raise Invalid("csv_invalid", "The CSV cannot be read.") from None
    if not rows:
        raise Invalid("inputs_empty", "The CSV holds no header.")
    header, body = rows[0], rows[1:]
    if len(set(header)) != len(header):
        raise Invalid("inputs_invalid", "Two columns of the CSV have the same name.")
    wrong = [number for number, row in enumerate(body, start=1) if len(row) != len(header)]
    if wrong:
        problems = [Problem(f"row {number}", "row_length", f"Not {len(header)} cells.") for number in wrong[:100]]
        raise Invalid("inputs_invalid", f"{len(wrong)} rows do not have one cell per column.", problems)
    return header, body
