"""Rows to predict, read from files in batches and typed as the model's signature says.

CSV has no types and the server turns no text into a number, so it is done here, where the cell that does not fit can be
named by its line.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tidemill.cli.json_values import NO_JSON, json_value
from tidemill.cli.parquet_rows import names_in, read_batches
from tidemill.kit.errors import Invalid, NotFound, Problem, TidemillError, Unsupported
from tidemill.kit.signatures import INVALID, Column, value_of_text
from tidemill.reading.json_lines import RepeatedMember, object_of
from tidemill.reading.opened import OpenedText, open_text
from tidemill.reading.records import DelimitedText, Record, lines_of
from tidemill.schemas.datasets import IngestOptions

Row = dict[str, Any]
_Placed = tuple[str, Row]
"""A row and where it stands in its file, such as ``line 3``."""
_IN_REQUEST = re.compile(r"/inputs/(\d+)(?:/([^/]*).*)?", re.DOTALL)
_MAX_PROBLEMS = 20
_BATCH_BYTES = 8 * 2**20
_CELL_BYTES = 24
_MOST_BYTES = 200 * 2**30
"""Of a file once it is unpacked, as of a dataset's."""
_DELIMITED = frozenset({".csv", ".tsv", ".txt"})
_NDJSON = frozenset({".ndjson", ".jsonl"})
_PARQUET = frozenset({".parquet", ".pq"})
_PACKED = (".gz", ".zst")


@dataclass
class RowBatch:
    """Rows of one request, and where each of them stands in its file."""

    rows: list[Row] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def tell_places(self, error: TidemillError) -> None:
        """The places of an error about the request become those of the file: a request knows only its own rows."""
        error.problems = tuple(
            replace(problem, pointer=self._in_file(problem.pointer, problem.code)) for problem in error.problems
        )

    def _in_file(self, pointer: str, code: str) -> str:
        found = _IN_REQUEST.fullmatch(pointer)
        if found is None or int(found[1]) >= len(self.places):
            return pointer
        column = "" if found[2] is None else f"column {found[2].replace('~1', '/').replace('~0', '~')}"
        if code == "column_missing":
            return column
        return ", ".join(filter(None, (self.places[int(found[1])], column)))


@dataclass(frozen=True)
class RowFile:
    """A file of rows and the columns that the model takes; other columns are passed over.

    ``warn`` is told what was guessed about the file as a whole.
    """

    path: Path
    columns: Sequence[Column]
    warn: Callable[[str], None] = lambda _: None

    def batches(self, size: int) -> Iterator[RowBatch]:
        """At most ``size`` rows each, and fewer where they are long: a request has a limit.

        Raises Invalid naming up to 20 cells of a batch that do not fit, before any row of it is sent."""
        batch, batch_bytes = RowBatch(), 0
        for place, row in self._rows():
            row_bytes = sum(len(value) if isinstance(value, str) else _CELL_BYTES for value in row.values())
            if batch.rows and (len(batch.rows) == size or batch_bytes + row_bytes > _BATCH_BYTES):
                yield batch
                batch, batch_bytes = RowBatch(), 0
            batch.rows.append(row)
            batch.places.append(place)
            batch_bytes += row_bytes
        if batch.rows:
            yield batch

    def _rows(self) -> Iterator[_Placed]:
        name = self.path.name.lower()
        suffix = Path(next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)).suffix
        if not self.path.is_file():
            raise NotFound("file_not_found", f"There is no file {self.path}.")
        if suffix in _PARQUET:
            return _parquet_rows(self.path, self.columns, self.warn)
        if suffix not in _DELIMITED | _NDJSON:
            raise Unsupported(
                "file_type_unsupported",
                "A file of rows ends in .csv, .tsv, .txt, .ndjson, .jsonl (all may be packed: .gz, .zst) or .parquet.",
            )
        text = open_text(lambda: self.path.open("rb"), _MOST_BYTES)
        for warning in text.warnings:
            self.warn(warning)
        return _csv_rows(text, self.columns) if suffix in _DELIMITED else _ndjson_rows(text, self.columns)


@dataclass
class _Faults:
    """Cells that do not fit; none of their rows is sent."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, place: str, code: str, detail: str) -> None:
        self.problems.append(Problem(place, code, detail))

    def rows_without(self, rows: Iterator[_Placed]) -> Iterator[_Placed]:
        """``rows`` until one of them has a fault; then the rest is only looked at, and Invalid raised."""
        for row in rows:
            if not self.problems:
                yield row
            elif len(self.problems) >= _MAX_PROBLEMS:
                break
        if self.problems:
            detail = "Cells of the file do not fit the model's signature."
            raise Invalid("cells_invalid", detail, self.problems[:_MAX_PROBLEMS])


def _csv_rows(text: OpenedText, columns: Sequence[Column]) -> Iterator[_Placed]:
    found = DelimitedText(text, IngestOptions(), [column.name for column in columns])
    _check_names(found.names, columns)
    faults = _Faults()
    places = [(found.names.index(column.name), column) for column in columns if column.name in found.names]
    return faults.rows_without(
        (f"line {record.line}", _row(found, record, places, faults)) for record in found.records()
    )


def _check_names(names: Sequence[str], columns: Sequence[Column]) -> None:
    missing = [column.name for column in columns if column.required and column.name not in names]
    if missing:
        problems = [Problem(f"column {name}", "column_missing", "The model requires this column.") for name in missing]
        raise Invalid("column_missing", f"The file lacks {len(missing)} columns that the model requires.", problems)


def _row(text: DelimitedText, record: Record, places: Sequence[tuple[int, Column]], faults: _Faults) -> Row:
    ragged = text.ragged(record)
    if ragged is not None:
        faults.problems.append(ragged)
        return {}
    row = {column.name: value_of_text(record.cells[place], column) for place, column in places}
    for name, column in ((column.name, column) for _, column in places):
        if row[name] is INVALID:
            faults.add(f"line {record.line}, column {name}", "type_mismatch", f"No value of the type {column.type}.")
        elif row[name] is None and not column.nullable:
            faults.add(f"line {record.line}, column {name}", "value_null", "The model takes no empty cell here.")
    return row


def _ndjson_rows(text: OpenedText, columns: Sequence[Column]) -> Iterator[_Placed]:
    faults = _Faults()
    lines = ((number, line) for number, line in enumerate(lines_of(text.chunks()), start=1) if line.strip())
    objects = ((f"line {number}", _object(line, number)) for number, line in lines)
    return faults.rows_without((place, _sendable(row, columns, place, faults)) for place, row in objects)


def _object(line: str, number: int) -> Row:
    try:
        row = object_of(line)
    except RepeatedMember:
        problem = Problem(f"line {number}", "member_repeated", "Two members have the same name.")
        raise Invalid(
            "member_repeated", f"Line {number} of the file has two members of the same name.", [problem]
        ) from None
    if row is None:
        problem = Problem(f"line {number}", "row_invalid", "A line is one JSON object.")
        raise Invalid("row_invalid", f"Line {number} of the file is no JSON object.", [problem])
    return row


def _parquet_rows(path: Path, columns: Sequence[Column], warn: Callable[[str], None]) -> Iterator[_Placed]:
    known = names_in(path)
    wanted = [column.name for column in columns if column.name in known]
    rows = _numbered(row for batch in read_batches(path, wanted, warn) for row in batch)
    faults = _Faults()
    return faults.rows_without((place, _sendable(row, columns, place, faults)) for place, row in rows)


def _numbered(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _sendable(row: Mapping[str, Any], columns: Sequence[Column], place: str, faults: _Faults) -> Row:
    """The model's columns of a row, as JSON."""
    found = {
        column.name: json_value(row[column.name], takes_bytes=column.type == "binary")
        for column in columns
        if column.name in row
    }
    for name, value in found.items():
        if value is NO_JSON:
            faults.add(f"{place}, column {name}", "value_unsupported", "The value cannot be sent: it is no JSON.")
    return found


def checked_rows(rows: Sequence[Mapping[str, Any]]) -> RowBatch:
    """Rows of an argument, as JSON can carry them. Raises Invalid naming rows, from 1, and columns."""
    columns = {name: Column(name, "", required=False) for row in rows for name in row}
    faults = _Faults()
    found = ((place, _sendable(row, list(columns.values()), place, faults)) for place, row in _numbered(rows))
    placed = list(faults.rows_without(found))
    return RowBatch([row for _, row in placed], [place for place, _ in placed])
