"""Excel workbooks (.xlsx). Rows are numbered as the spreadsheet numbers them."""

import datetime as dt
import warnings
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
from openpyxl.utils.exceptions import InvalidFileException

from tidemill.kit.errors import Invalid, NotFound, Problem, TooLarge
from tidemill.schemas.datasets import MAX_COLUMNS, MAX_ROW_PROBLEMS, IngestOptions
from tidemill.training.ingest.dialect import checked_names
from tidemill.training.ingest.model import Batch, Limits

_CELLS_AT_ONCE = 2**16
_SHARED_TEXTS = "xl/sharedStrings.xml"
_TEXT_GROWTH = 5
"""How much larger the texts are as objects of Python than as XML."""
_Row = tuple[int, tuple[Any, ...]]


class ExcelSource:
    typed = False

    def __init__(self, path: Path, options: IngestOptions, limits: Limits, limit_bytes: int) -> None:
        self._path = path
        self._options = options
        self._limits = limits
        self._check_size(min(limit_bytes, 100 * max(path.stat().st_size, 2**20)))
        self._sheet = self._find_sheet()
        first = next(self._rows(), None)
        if first is None:
            raise Invalid("file_empty", "The sheet holds no rows.")
        self._header_row, cells = first
        width = max(index for index, cell in enumerate(cells) if cell is not None) + 1
        if width > MAX_COLUMNS:
            raise TooLarge("too_many_columns", f"The sheet has {width} columns; at most {MAX_COLUMNS} are read.")
        self._has_header = self._looks_like_header(cells) if options.has_header is None else options.has_header
        texts = [_text_of(cell) or "" for cell in cells[:width]]
        self.names = checked_names(texts) if self._has_header else tuple(f"column_{i + 1}" for i in range(width))

    def describe(self) -> dict[str, Any]:
        return {"format": "excel", "sheet": self._sheet, "has_header": self._has_header}

    def batches(self) -> Generator[Batch, None, None]:
        rows, index = self._data_rows(), 0
        while chunk := list(islice(rows, max(1, _CELLS_AT_ONCE // len(self.names)))):
            self._check_width(chunk)
            yield self._batch([cells for _, cells in chunk], index)
            index += len(chunk)

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        wanted = set(indices)
        return {index: number for index, (number, _) in enumerate(self._data_rows()) if index in wanted}

    def _check_size(self, limit_bytes: int) -> None:
        with zipfile.ZipFile(self._path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > limit_bytes:
            raise TooLarge("file_too_large", f"The workbook grows beyond {limit_bytes} bytes when decompressed.")
        if _TEXT_GROWTH * sizes.get(_SHARED_TEXTS, 0) > self._limits.free_bytes:
            raise TooLarge(
                "workbook_texts_too_large",
                "The workbook keeps all its different texts in one table, which does not fit into the worker's memory; "
                "save it as CSV or Parquet.",
            )

    def _find_sheet(self) -> str:
        with self._open() as book:
            if self._options.sheet is not None:
                if self._options.sheet not in book.sheetnames:
                    raise NotFound("sheet_not_found", "The workbook has no sheet of that name.")
                return self._options.sheet
            for sheet in book.worksheets:
                if any(cell is not None for row in sheet.iter_rows(values_only=True) for cell in row):
                    return str(sheet.title)
        raise Invalid("file_empty", "The workbook holds no cells.")

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with self._path.open("rb") as stream:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            except (InvalidFileException, KeyError, ValueError, zipfile.BadZipFile):
                raise Invalid("file_damaged", "The Excel file is damaged.") from None
            with closing(book):
                yield book

    def _rows(self) -> Iterator[_Row]:
        """Rows that hold a cell, with their numbers. Sizes stated in the file may be wrong and are not believed."""
        with self._open() as book:
            sheet = book[self._sheet]
            sheet.reset_dimensions()
            for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                if any(cell is not None and cell != "" for cell in cells):
                    yield number, cells

    def _data_rows(self) -> Iterator[_Row]:
        return islice(self._rows(), 1 if self._has_header else 0, None)

    def _looks_like_header(self, cells: tuple[Any, ...]) -> bool:
        return all(cell is None or isinstance(cell, str) for cell in cells)

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
            cells = [row[position] if position < len(row) else None for row in rows]
            arrays.append(pa.array([_text_of(cell) for cell in cells], pa.string()))
            mask = np.array([isinstance(cell, str) for cell in cells], dtype=bool)
            if mask.any():
                quoted[name] = mask
        return Batch(pa.Table.from_arrays(arrays, names=list(self.names)), first_index, quoted)


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
