"""Rows to predict, read from files in batches and typed as the model's signature says.

CSV has no types and the server turns no text into a number, so it is done here, where the cell that does not fit can be
named by its line.
"""

import csv
import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tidemill.kit.errors import Invalid, NotFound, Problem, Unsupported
from tidemill.kit.signatures import INVALID, Column, value_of_text

Row = dict[str, Any]
_MAX_PROBLEMS = 20
_BATCH_BYTES = 8 * 2**20
_CELL_BYTES = 24
_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 64 * 1024
_NDJSON = frozenset({".ndjson", ".jsonl"})
_PARQUET = frozenset({".parquet", ".pq"})


@dataclass(frozen=True)
class RowFile:
    """A file of rows and the columns that the model takes; other columns are passed over."""

    path: Path
    columns: Sequence[Column]

    def batches(self, size: int) -> Iterator[list[Row]]:
        """At most ``size`` rows each, and fewer where they are long: a request has a limit.

        Raises Invalid naming up to 20 cells of a batch that do not fit, before any row of it is sent."""
        batch: list[Row] = []
        batch_bytes = 0
        for row in self._rows():
            row_bytes = sum(len(value) if isinstance(value, str) else _CELL_BYTES for value in row.values())
            if batch and (len(batch) == size or batch_bytes + row_bytes > _BATCH_BYTES):
                yield batch
                batch, batch_bytes = [], 0
            batch.append(row)
            batch_bytes += row_bytes
        if batch:
            yield batch

    def _rows(self) -> Iterator[Row]:
        suffix = self.path.suffix.lower()
        if not self.path.is_file():
            raise NotFound("file_not_found", f"There is no file {self.path}.")
        if suffix in _PARQUET:
            return _parquet_rows(self.path, [column.name for column in self.columns])
        if suffix in _NDJSON:
            return _ndjson_rows(self.path, {column.name for column in self.columns})
        if suffix in (".csv", ".tsv", ".txt"):
            return _csv_rows(self.path, self.columns)
        raise Unsupported("file_type_unsupported", "A file of rows ends in .csv, .tsv, .ndjson, .jsonl or .parquet.")


def _csv_rows(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=_delimiter(stream), strict=True)
            yield from _typed(reader, columns)
    except UnicodeDecodeError:
        raise Invalid("csv_not_utf8", "The CSV is not UTF-8.") from None
    except csv.Error as error:
        raise Invalid("csv_invalid", f"The CSV cannot be read: {error}.") from None


def _delimiter(stream: TextIO) -> str:
    header = stream.read(_SAMPLE_CHARACTERS).partition("\n")[0]
    stream.seek(0)
    return max(_DELIMITERS, key=header.count)


def _typed(reader: Any, columns: Sequence[Column]) -> Iterator[Row]:
    header = _checked_header(next(reader, []), columns)
    places = [(header.index(column.name), column) for column in columns if column.name in header]
    faults: list[Problem] = []
    for cells in reader:
        if not cells:
            continue
        row = _row(cells, places, (reader.line_num, len(header)), faults)
        if not faults:
            yield row
        elif len(faults) >= _MAX_PROBLEMS:
            break
    if faults:
        raise Invalid("cells_invalid", "Cells of the file do not fit the model's signature.", faults[:_MAX_PROBLEMS])


def _checked_header(header: list[str], columns: Sequence[Column]) -> list[str]:
    if not header:
        raise Invalid("file_empty", "The file holds no header.")
    if len(set(header)) != len(header):
        raise Invalid("column_duplicate", "Two columns of the file have the same name.")
    missing = [column.name for column in columns if column.required and column.name not in header]
    if missing:
        problems = [Problem(f"column {name}", "column_missing", "The model requires this column.") for name in missing]
        raise Invalid("column_missing", f"The file lacks {len(missing)} columns that the model requires.", problems)
    return header


def _row(cells: list[str], places: Sequence[tuple[int, Column]], shape: tuple[int, int], faults: list[Problem]) -> Row:
    """``shape``: line number, and number of cells that the line should have."""
    line, width = shape
    if len(cells) != width:
        faults.append(Problem(f"line {line}", "row_length", f"{len(cells)} cells instead of {width}."))
        return {}
    row = {column.name: value_of_text(cells[place], column) for place, column in places}
    for name, column in ((column.name, column) for _, column in places):
        if row[name] is INVALID:
            faults.append(
                Problem(f"line {line}, column {name}", "type_mismatch", f"No value of the type {column.type}.")
            )
        elif row[name] is None and not column.nullable:
            faults.append(Problem(f"line {line}, column {name}", "value_null", "The model takes no empty cell here."))
    return row


def _ndjson_rows(path: Path, names: set[str]) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield {name: value for name, value in _object(line, number).items() if name in names}


def _object(line: bytes, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        problem = Problem(f"line {number}", "row_invalid", "A line is one JSON object.")
        raise Invalid("row_invalid", f"Line {number} of the file is no JSON object.", [problem])
    return row


def _parquet_rows(path: Path, names: Iterable[str]) -> Iterator[Row]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise Unsupported("pyarrow_missing", "Reading Parquet needs the package pyarrow.") from None
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise Invalid("parquet_invalid", f"The Parquet file cannot be read ({type(error).__name__}).") from None
    with file:
        known = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=5000, columns=known):
            for row in batch.to_pylist():
                yield {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    """Times as ISO 8601; NaN, which JSON does not have, as null."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - only NaN differs from itself
