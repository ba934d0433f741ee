"""Excel workbooks (.xlsx). Rows are numbered as the spreadsheet numbers them."""

import datetime as dt
import re
import warnings
import weakref
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import openpyxl
import pyarrow as pa
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from tidemill.kit.errors import Invalid, NotFound, Problem, TooLarge
from tidemill.reading.damage import decoding
from tidemill.reading.dialect import NO_HEADER, checked_names
from tidemill.reading.text import most_unpacked_bytes
from tidemill.schemas.datasets import MAX_COLUMNS, MAX_ROW_PROBLEMS, IngestOptions
from tidemill.training.ingest.excel_sheet import SheetFindings, check_texts, formulas_missing, letters_of, look_through
from tidemill.training.ingest.excel_values import CellRules
from tidemill.training.ingest.model import Batch, Limits
from tidemill.training.ingest.row_lengths import MOST_TEXTS_BYTES, row_too_long, texts_grown

_CELLS_AT_ONCE = 2**16
_SHARED_TEXTS = "xl/sharedStrings.xml"
_CONTENTS = "[Content_Types].xml"
_SHEET_NAME = re.compile(rb'PartName="/(xl/worksheets/[^"]+)"')
_NO_VALUE = "#N/A"
"""What Excel shows where a formula found no value."""
_YEARS = range(1900, 2100)
_TOLD_SHEETS, _LONGEST_TITLE = 10, 31
_READ_WHOLE = (
    "[Content_Types].xml", "docProps/", "xl/workbook.xml", "xl/styles.xml", "xl/theme/", "xl/externalLinks/",
    "xl/_rels/",
)  # fmt: skip
_TREE_GROWTH = 20
"""How much larger XML is as a tree than as text; sheets and texts are read as a stream."""
_TEXT_GROWTH = 5
"""How much larger the texts are as objects of Python than as XML."""
_MOST_ROWS = 2**20
"""Of a sheet, as Excel defines it."""
_ENCRYPTED = 1
"""The bit of a zip archive's entry that says so."""
_Cells = TypeVar("_Cells")
_Row = tuple[int, tuple[Any, ...]]


class ExcelSource:
    typed = False

    def __init__(self, path: Path, options: IngestOptions, limits: Limits, limit_bytes: int) -> None:
        self._path = path
        self._options = options
        self._limits = limits
        self._check_size(min(limit_bytes, 100 * max(path.stat().st_size, 2**20)))
        self._check_sheets()
        self.warnings: list[str] = []
        self._sheet, self._found = self._find_sheet()
        self.warnings += self._found.warnings()
        beginning = list(islice(self._rows(), 2))
        if not beginning:
            raise Invalid("file_empty", "The sheet holds no rows.")
        (_, cells), *below = beginning
        width = max(index for index, cell in enumerate(cells) if cell is not None) + 1
        if width > MAX_COLUMNS:
            raise TooLarge("too_many_columns", f"The sheet has {width} columns; at most {MAX_COLUMNS} are read.")
        self._has_header = _looks_like_header(cells, below) if options.has_header is None else options.has_header
        if options.has_header is None and not self._has_header:
            self.warnings.append(NO_HEADER)
        texts = [_text_of(cell) or "" for cell in cells[:width]]
        self.names = checked_names(texts) if self._has_header else tuple(f"column_{i + 1}" for i in range(width))
        if (missing := formulas_missing(self._found, self.names, MAX_ROW_PROBLEMS)) is not None:
            raise missing

    def describe(self) -> dict[str, Any]:
        return {"format": "excel", "sheet": self._sheet, "has_header": self._has_header}

    def batches(self) -> Generator[Batch, None, None]:
        index, texts_bytes = 0, 0
        most_bytes = most_unpacked_bytes(self._path.stat().st_size, MOST_TEXTS_BYTES)
        for chunk in self._chunks():
            self._check_width(chunk)
            batch = self._batch([cells for _, cells in chunk], index)
            texts_bytes += batch.table.nbytes
            if texts_bytes > most_bytes:
                raise texts_grown(most_bytes)
            yield batch
            index += len(chunk)

    def _chunks(self) -> Iterator[list[_Row]]:
        """Rows together, fewer where they are long: a workbook holds a text once however many cells have it."""
        most_rows, most_bytes = max(1, _CELLS_AT_ONCE // len(self.names)), 2 * self._limits.block_bytes
        chunk: list[_Row] = []
        chunk_bytes = 0
        for row in self._data_rows():
            row_bytes = self._checked_bytes(row)
            if chunk and (len(chunk) == most_rows or chunk_bytes + row_bytes > most_bytes):
                yield chunk
                chunk, chunk_bytes = [], 0
            chunk.append(row)
            chunk_bytes += row_bytes
        if chunk:
            yield chunk

    def _checked_bytes(self, row: _Row) -> int:
        """What its texts take, as characters. Raises TooLarge for a row that is too long."""
        number, cells = row
        lengths = [len(cell) if isinstance(cell, str) else 0 for cell in cells]
        size_bytes = sum(lengths)
        if size_bytes > self._limits.longest_row_bytes:
            place = f"row {number}, column {letters_of(lengths.index(max(lengths)) + 1)}"
            raise row_too_long(number, place, self._limits.longest_row_bytes)
        return size_bytes

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        wanted = set(indices)
        return {index: number for index, (number, _) in enumerate(self._data_rows()) if index in wanted}

    def _check_size(self, limit_bytes: int) -> None:
        with decoding("Excel"), zipfile.ZipFile(self._path) as archive:
            entries = archive.infolist()
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            raise Invalid("workbook_encrypted", "The workbook is locked by a password; save it without one.")
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(sizes) < len(entries):
            raise Invalid("file_damaged", "The workbook holds two parts of one name.")
        if sum(sizes.values()) > limit_bytes:
            raise TooLarge("file_too_large", f"The workbook grows beyond {limit_bytes} bytes when decompressed.")
        if _TREE_GROWTH * sum(sizes[name] for name in sizes if name.startswith(_READ_WHOLE)) > self._limits.free_bytes:
            raise TooLarge("file_too_large", "The workbook's styles and names do not fit into the worker's memory.")
        if _TEXT_GROWTH * sizes.get(_SHARED_TEXTS, 0) > self._limits.free_bytes:
            raise TooLarge(
                "workbook_texts_too_large",
                "The workbook keeps all its different texts in one table, which does not fit into the worker's memory; "
                "save it as CSV or Parquet.",
            )

    def _check_sheets(self) -> None:
        """The library passes over sheets that the workbook declares and does not have."""
        with decoding("Excel"), zipfile.ZipFile(self._path) as archive:
            names = set(archive.namelist())
            if _SHARED_TEXTS in names:
                with archive.open(_SHARED_TEXTS) as stream:
                    check_texts(stream)
            declared = archive.read(_CONTENTS) if _CONTENTS in names else b""
        if not {name.decode() for name in _SHEET_NAME.findall(declared)} <= names:
            raise Invalid("file_damaged", "The workbook lacks a sheet that it says it has.")

    def _find_sheet(self) -> tuple[str, SheetFindings]:
        """The sheet to read, and what a look at it finds."""
        with self._open() as book:
            if self._options.sheet is not None:
                titles = [str(sheet.title) for sheet in book.worksheets]  # without charts
                if self._options.sheet not in titles:
                    raise _sheet_not_found(titles)
                return self._options.sheet, _look_through(book, book[self._options.sheet])
            for sheet in sorted(book.worksheets, key=lambda sheet: sheet.sheet_state != "visible"):
                found = _look_through(book, sheet)
                if found.last_row or found.formula_count:
                    self._warn_of_other_sheets(sheet.title, len(book.worksheets))
                    return str(sheet.title), found
        raise Invalid("file_empty", "The workbook holds no cells.")

    def _warn_of_other_sheets(self, title: str, count: int) -> None:
        if count > 1:
            self.warnings.append(f"Only the sheet {title} of {count} was read; --sheet NAME reads another.")

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Whatever is read of the workbook is read within: the library finds most damage only then."""
        with decoding("Excel"):
            yield self._book

    @cached_property
    def _book(self) -> Any:
        """Opened once for all readings, as its table of texts is parsed each time; it is closed with this source."""
        stream = self._path.open("rb")
        weakref.finalize(self, stream.close)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(stream, read_only=True, data_only=True)

    def _rows(self) -> Iterator[_Row]:
        """Rows that hold a cell, with their numbers. Sizes stated in the file may be wrong and are not believed."""
        with self._open() as book:
            sheet = book[self._sheet]
            sheet.reset_dimensions()
            # No further than there are values: the library makes up empty cells, and parses what follows the rows.
            rows = islice(sheet.iter_rows(max_col=max(1, self._found.width), values_only=True), self._found.last_row)
            empty: object = None  # one and the same for all that the library makes up
            for number, cells in _numbered(rows):
                if cells is empty:
                    continue
                if any(cell is not None and cell != "" for cell in cells):
                    yield number, cells
                else:
                    empty = cells

    def _data_rows(self) -> Iterator[_Row]:
        return islice(self._rows(), 1 if self._has_header else 0, None)

    def _check_width(self, rows: list[_Row]) -> None:
        width = len(self.names)
        long = [number for number, cells in rows if any(cell not in (None, "") for cell in cells[width:])]
        if long:
            problems = [Problem(f"row {number}", "row_ragged", f"The row has cells beyond its {width} columns.")
                        for number in long]  # fmt: skip
            raise Invalid("rows_ragged", f"Rows have cells beyond the {width} columns.", problems[:MAX_ROW_PROBLEMS])

    def _batch(self, rows: list[tuple[Any, ...]], first_index: int) -> Batch:
        arrays, quoted = [], {}
        for position, name in enumerate(self.names):
            cells = [self._known(row[position]) if position < len(row) else None for row in rows]
            arrays.append(pa.array([_text_of(cell) for cell in cells], pa.string()))
            mask = np.array([isinstance(cell, str) for cell in cells], dtype=bool)
            if mask.any():
                quoted[name] = mask
        return Batch(pa.Table.from_arrays(arrays, names=list(self.names)), first_index, quoted)

    def _known(self, cell: Any) -> Any:
        return None if cell == _NO_VALUE and self._options.default_missing else cell


def _sheet_not_found(titles: Sequence[str]) -> NotFound:
    told = ", ".join(title[:_LONGEST_TITLE] for title in titles[:_TOLD_SHEETS])
    others = len(titles) - _TOLD_SHEETS
    more = f", and {others} more" if others > 0 else ""
    return NotFound("sheet_not_found", f"The workbook has no sheet of that name. It has: {told}{more}.")


def _look_through(book: Any, sheet: Any) -> SheetFindings:
    # Where the sheet lies, and these, the library tells nowhere else.
    texts, dates, durations = sheet._shared_strings, book._date_formats, book._timedelta_formats  # noqa: SLF001
    from_1904 = book.epoch == CALENDAR_MAC_1904
    rules = CellRules(len(texts), frozenset(dates) - frozenset(durations), frozenset(durations), from_1904)
    with book._archive.open(sheet._worksheet_path) as stream:  # noqa: SLF001
        return look_through(stream, rules)


def _numbered(rows: Iterable[_Cells]) -> Iterator[tuple[int, _Cells]]:
    """Rows with their numbers. The library makes up the rows before one whose number leaves a gap, however large."""
    for number, row in enumerate(rows, start=1):
        if number > _MOST_ROWS:
            raise Invalid("file_damaged", f"The sheet has a row beyond the {_MOST_ROWS} that a workbook may have.")
        yield number, row


def _looks_like_header(first: tuple[Any, ...], below: list[_Row]) -> bool:
    """As for delimited text: texts only, or what is no text is unlike what stands below, or a year for each column."""
    typed = [index for index, cell in enumerate(first) if cell is not None and not isinstance(cell, str)]
    if not typed or not below:
        return not typed
    under = below[0][1]
    pairs = [(first[index], under[index] if index < len(under) else None) for index in typed]
    if all(type(cell) is not type(other) and not _are_numbers(cell, other) for cell, other in pairs):
        return True
    years = {cell for cell, other in pairs if cell in _YEARS and other not in _YEARS}
    return len(years) == len(typed) > 1 and len(typed) < len(first)


def _are_numbers(cell: Any, other: Any) -> bool:
    return isinstance(cell, (int, float)) and isinstance(other, (int, float))


def _text_of(cell: Any) -> str | None:
    """Midnight is a date: Excel knows no dates without a time."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(" ")
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell)
