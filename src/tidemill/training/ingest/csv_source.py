"""Delimited text, read by Arrow in blocks as columns of text, so that no digit is lost before types are decided."""

import csv
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.reading.dialect import Dialect, sniff
from tidemill.reading.first_line import repeated_names
from tidemill.reading.missing import missing_tokens
from tidemill.reading.text import PlainText
from tidemill.schemas.datasets import MAX_ROW_PROBLEMS, IngestOptions
from tidemill.training.ingest.model import Batch, Limits
from tidemill.training.ingest.quotes import check_quotes
from tidemill.training.ingest.row_lengths import long_row, row_too_long


@dataclass
class _RaggedRows:
    """Rows with too few or too many fields: the first ones, and how many there are."""

    total: int = 0
    first: list[tuple[int, int]] = field(default_factory=list)

    def take(self, row: Any) -> str:
        self.total += 1
        if len(self.first) < MAX_ROW_PROBLEMS:
            self.first.append((int(row.number), int(row.actual_columns)))
        return "skip"


class _LongRow(Exception):
    """A row does not fit into a block."""


def _too_long(limits: Limits) -> TooLarge:
    return TooLarge("row_too_long", f"A row is longer than {limits.longest_row_bytes} bytes, or a quote never closes.")


class CsvSource:
    """Rows are told by the line they begin on, as an editor numbers lines."""

    typed = False

    def __init__(self, text: PlainText, options: IngestOptions, limits: Limits) -> None:
        self._text = text
        self._options = options
        self._limits = limits
        self._read_share = 0.0
        self._quotes: Future[None] | None = None
        self.dialect: Dialect = sniff(text.path, options)
        self.names = self.dialect.names
        self.warnings = (*text.warnings, *self.dialect.warnings)
        # Long enough for the header of a wide file several times over.
        width_bytes = sum(len(name) + 24 for name in self.names)
        self._block_bytes = min(limits.longest_row_bytes, max(limits.block_bytes, 8 * width_bytes))

    def describe(self) -> dict[str, Any]:
        return {
            "format": "csv",
            "encoding": self._text.encoding,
            "encoding_guessed": self._text.guessed,
            "compression": self._text.compression.value,
            "delimiter": self.dialect.delimiter,
            "quote": self.dialect.quote,
            "has_header": self.dialect.has_header,
        }

    def batches(self) -> Generator[Batch, None, None]:
        index = 0
        while True:
            try:
                for batch in self._batches_from(index):
                    yield batch
                    index += batch.table.num_rows
            except _LongRow:
                self._enlarge_blocks()
            else:
                return

    def _batches_from(self, start: int) -> Iterator[Batch]:
        """Rows from the index ``start`` on. Raises _LongRow where one is longer than a block."""
        ragged, index = _RaggedRows(), 0
        for table in self._tables(ragged):
            if table.nbytes > self._limits.longest_row_bytes:
                self._check_lengths(table, index)
            self._refuse_names(table, index)
            wanted = table.slice(max(0, start - index))
            index += table.num_rows
            if wanted.num_rows and not ragged.total:
                yield Batch(wanted, index - wanted.num_rows, read_share=self._read_share)
                self._look_at_quotes()  # not before more than the first rows are wanted
        self._look_at_quotes().result()
        if ragged.total:
            self._refuse_ragged(ragged)

    def _refuse_names(self, table: pa.Table, start: int) -> None:
        """Raise Invalid for a row that says the names again, as where files were put together."""
        first, names = self.dialect.repeatable_names
        again = None
        for column, name in zip(table.columns[first:], names, strict=True) if names else ():
            same = pc.equal(pc.utf8_trim_whitespace(column), name)
            again = same if again is None else pc.and_kleene(again, same)
            if not pc.any(again).as_py():  # as the first column nearly always tells
                return
        if again is not None:
            row = start + again.index(True).as_py()
            raise repeated_names(self.row_numbers([row])[row])

    def _check_lengths(self, table: pa.Table, start: int) -> None:
        """Arrow lets a row span two blocks, which has room for one that nothing else takes."""
        long = long_row(table, self._limits.longest_row_bytes)
        if long is not None:
            row, column = long
            line = self.row_numbers([start + row])[start + row]
            raise row_too_long(start + row + 1, f"line {line}, column {column}", self._limits.longest_row_bytes)

    def _look_at_quotes(self) -> Future[None]:
        """Once, since the file does not change between readings, and beside them, since that costs them nothing."""
        if self._quotes is None:
            executor = ThreadPoolExecutor(1, thread_name_prefix="quotes")
            self._quotes = executor.submit(check_quotes, self._text.path, self.dialect)
            executor.shutdown(wait=False)
        return self._quotes

    def row_numbers(self, indices: Sequence[int]) -> dict[int, int]:
        wanted, found = sorted(set(indices)), {}
        position = 0
        for index, line in enumerate(self._first_lines()):
            if position == len(wanted):
                break
            if index == wanted[position]:
                found[index] = line
                position += 1
        return found

    def _first_lines(self) -> Iterator[int]:
        """The line each row of data begins on."""
        header_left = self.dialect.has_header
        with self._text.path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, **self.dialect.reader_options())  # type: ignore[arg-type]
            begins = 1
            for row in reader:
                if row or self._keeps_blank_lines:
                    if not header_left:
                        yield begins
                    header_left = False
                begins = reader.line_num + 1

    @property
    def _keeps_blank_lines(self) -> bool:
        """In a file of one column a blank line is a missing value."""
        return len(self.names) == 1

    def _tables(self, ragged: _RaggedRows) -> Iterator[pa.Table]:
        file = pa.OSFile(str(self._text.path))
        size_bytes = max(1, file.size())
        try:
            reader = pa.csv.open_csv(
                file,
                read_options=self._read_options(),
                parse_options=self._parse_options(ragged),
                convert_options=self._convert_options(),
            )
            header_rows = 1 if self.dialect.has_header else 0
            for batch in reader:
                self._read_share = file.tell() / size_bytes
                rows = batch.slice(header_rows)
                header_rows = max(0, header_rows - batch.num_rows)
                if rows.num_rows:
                    yield pa.Table.from_batches([rows])
        except pa.ArrowInvalid as error:
            self._refuse(str(error))
        finally:
            file.close()

    def _read_options(self) -> Any:
        """One thread: only then does Arrow number the rows, and reads no further ahead than one block.

        The header is read as a row and dropped, since Arrow's own skipping counts blank lines.
        """
        return pa.csv.ReadOptions(
            use_threads=False,
            block_size=self._block_bytes,
            column_names=list(self.names),
        )

    def _enlarge_blocks(self) -> None:
        limit_bytes = self._limits.longest_row_bytes
        if self._block_bytes >= limit_bytes:
            raise _too_long(self._limits)
        self._block_bytes = min(limit_bytes, 8 * self._block_bytes)

    def _parse_options(self, ragged: _RaggedRows) -> Any:
        return pa.csv.ParseOptions(
            delimiter=self.dialect.delimiter,
            quote_char=self.dialect.quote or False,
            escape_char=self.dialect.escape or False,
            newlines_in_values=True,
            ignore_empty_lines=not self._keeps_blank_lines,
            invalid_row_handler=ragged.take,
        )

    def _convert_options(self) -> Any:
        return pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in self.names},
            null_values=["", *missing_tokens(self._options)],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def _refuse(self, message: str) -> NoReturn:
        """Arrow's own words may hold values of the file, hence ours."""
        if "straddling" in message:
            raise _LongRow
        raise Invalid("csv_unreadable", "The file cannot be read as delimited text.")

    def _refuse_ragged(self, ragged: _RaggedRows) -> NoReturn:
        header_rows = 1 if self.dialect.has_header else 0
        lines = self.row_numbers([number - 1 - header_rows for number, _ in ragged.first])
        expected = len(self.names)
        problems = [
            Problem(
                f"row {lines.get(number - 1 - header_rows, number)}",
                "row_ragged",
                f"The row has {actual} fields instead of {expected}.",
            )
            for number, actual in ragged.first
        ]
        do = "row does" if ragged.total == 1 else "rows do"
        raise Invalid("rows_ragged", f"{ragged.total} {do} not have {expected} fields, as the first one.", problems)
