"""Delimited text cut into records, one after the other, in pure Python: what predictions and feedback are read by.

Datasets are read by Arrow in blocks, which is many times quicker; both keep the same promises (docs/datasets.md).
"""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from tidemill.kit.errors import Invalid, Problem, TooLarge, Unsupported
from tidemill.reading.detect import detect_text_format
from tidemill.reading.dialect import Dialect, beginning_of, ends_within_quotes, sniff_sample
from tidemill.reading.first_line import repeated_names
from tidemill.reading.missing import missing_tokens
from tidemill.reading.opened import OpenedText
from tidemill.schemas.datasets import FileFormat, IngestOptions

LONGEST_ROW_CHARACTERS = 16 * 2**20
"""As long as the longest row of a dataset."""
_FORMAT_CHARACTERS = 4096
"""Which tell what a text is."""


@dataclass(frozen=True, slots=True)
class Record:
    """line: the one it begins on, from 1. cells: None where one is missing: empty, or an unquoted NA and the like."""

    line: int
    cells: list[str | None]


class DelimitedText:
    """A delimited text: how it is cut, and its records without the header.

    ``expected``: names of columns that the reader looks for. Raises Invalid, TooLarge, Unsupported, by line where one
    is to blame.
    """

    def __init__(self, text: OpenedText, options: IngestOptions, expected: Collection[str] = ()) -> None:
        self._text = text
        self._missing = frozenset(missing_tokens(options))
        beginning = beginning_of(text.chunks())
        _refuse_json(beginning)
        self.dialect = sniff_sample(beginning, options, expected)
        self.names = self.dialect.names
        self.warnings = (*text.warnings, *self.dialect.warnings)

    def records(self) -> Iterator[Record]:
        """In order, of any length; what has not as many cells as there are names is `ragged`."""
        lines = RecordLines(lines_of(self._text.chunks()))
        reader = csv.reader(lines, strict=True, **self.dialect.reader_options())  # type: ignore[arg-type]
        quoting = self.dialect.quoting()
        header_left = self.dialect.has_header
        first, names = self.dialect.repeatable_names
        while (begins := lines.begin_record()) and (cells := next_record(reader, begins)) is not None:
            if not cells and len(self.names) > 1:
                continue  # in a file of one column a blank line is a missing value
            if header_left:
                header_left = False
                continue
            if not quoting.is_proven and (len(lines.record) > 1 or quoting.quote in lines.record[0]):
                quoting.look(lines.record, len(cells), begins)
            # The first name alone tells of nearly every row that it does not.
            if names and len(cells) > first and names[0] in cells[first]:
                self._refuse_names(cells, begins)
            yield Record(begins, self._with_missing(cells or [""], lines.record))

    def _refuse_names(self, cells: list[str], line: int) -> None:
        first, names = self.dialect.repeatable_names
        if tuple(cell.strip() for cell in cells[first:]) == names:
            raise repeated_names(line)

    def ragged(self, record: Record) -> Problem | None:
        """What is wrong with a record that has too few or too many cells."""
        found, expected = len(record.cells), len(self.names)
        if found == expected:
            return None
        return Problem(f"row {record.line}", "row_ragged", f"The row has {found} fields instead of {expected}.")

    def _with_missing(self, cells: list[str], raw: list[str]) -> list[str | None]:
        if self._missing.isdisjoint(cells):
            return [cell or None for cell in cells]
        quoted = _quoted_places("".join(raw), self.dialect)
        return [
            None if not cell or (cell in self._missing and place not in quoted) else cell
            for place, cell in enumerate(cells)
        ]


def _refuse_json(beginning: str) -> None:
    """Raise Unsupported for JSON, and for pages of HTML and XML: cut at their commas, they are told to lack columns."""
    if detect_text_format(beginning[:_FORMAT_CHARACTERS]) is not FileFormat.CSV:
        detail = "The file is JSON, not the delimited text that its name or media type says."
        raise Unsupported("format_mismatch", detail)


class RecordLines:
    """Hands lines to the csv module and keeps those of the present record, as many as a row may have."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._count = 0
        self._characters = 0
        self.record: list[str] = []

    def begin_record(self) -> int:
        """The number of the line on which the next record begins."""
        self.record, self._characters = [], 0
        return self._count + 1

    def __iter__(self) -> "RecordLines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._count += 1
        self._characters += len(line)
        if self._characters > LONGEST_ROW_CHARACTERS:
            raise too_long(self._count - len(self.record))
        self.record.append(line)
        return line


def lines_of(chunks: Iterable[str]) -> Iterator[str]:
    """Lines with their ends, which are LF, CRLF or CR. Raises TooLarge for one that is longer than a row may be."""
    for number, line in enumerate(_cut(chunks), start=1):
        if len(line) > LONGEST_ROW_CHARACTERS:
            raise too_long(number)
        yield line


def _cut(chunks: Iterable[str]) -> Iterator[str]:
    """Lines; of one that is too long only the beginning."""
    parts: list[str] = []
    characters = 0
    for chunk in chunks:
        parts.append(chunk)
        characters += len(chunk)
        is_within = "\n" not in chunk and "\r" not in chunk and not parts[0].endswith("\r")
        if is_within and characters <= LONGEST_ROW_CHARACTERS:
            continue
        lines = list(io.StringIO("".join(parts), newline=""))
        # A CR at the end may be half of a line's end.
        parts = [] if lines[-1].endswith("\n") or len(lines[-1]) > LONGEST_ROW_CHARACTERS else [lines.pop()]
        characters = sum(map(len, parts))
        yield from lines
    yield from io.StringIO("".join(parts), newline="")


def too_long(line: int) -> TooLarge:
    detail = f"The row at line {line} is longer than {LONGEST_ROW_CHARACTERS} characters, or a quote never closes."
    return TooLarge("row_too_long", detail, [Problem(f"row {line}", "row_too_long", "The row is too long.")])


def next_record(reader: Iterator[list[str]], begins: int) -> list[str] | None:
    """Raises Invalid for a row whose quotes make no sense."""
    try:
        return next(reader, None)
    except csv.Error as error:
        _refuse_quotes(begins, never_closes=ends_within_quotes(error))


def _refuse_quotes(line: int, never_closes: bool) -> NoReturn:
    """Raise Invalid for a row whose quotes make no sense: readers that go on would swallow marks or whole rows."""
    if never_closes:
        problem = Problem(f"row {line}", "quote_open", "A quote in the row that begins here never closes.")
        raise Invalid("quote_open", f"The quote opened in the row at line {line} never closes.", [problem])
    problem = Problem(f"row {line}", "quote_misplaced", "A quote closes here in the middle of a field.")
    raise Invalid(
        "quote_misplaced",
        f"In the row at line {line} a quote closes in the middle of a field. Double the quotes within quoted fields, "
        "or, if the file uses no quotes, say so where it becomes a dataset (--quote none).",
        [problem],
    )


def _quoted_places(raw: str, dialect: Dialect) -> frozenset[int]:
    """Which fields of a record stand in quotes. The csv module has read it already, so that it makes sense."""
    if dialect.quote is None or dialect.quote not in raw:
        return frozenset()
    quote, mark = re.escape(dialect.quote), re.escape(dialect.delimiter)
    escaped = rf"|{re.escape(dialect.escape)}." if dialect.escape else ""
    escape = re.escape(dialect.escape or "")
    # Possessive, so that no long field is gone back into.
    field = rf"({quote}(?:[^{quote}{escape}]++|{quote}{quote}{escaped})*+{quote})|(?:[^{mark}{escape}]++{escaped})*+"
    places, at, place = set(), 0, 0
    pattern = re.compile(field, re.DOTALL)
    while found := pattern.match(raw, at):
        if found[1]:
            places.add(place)
        place, at = place + 1, found.end() + 1
        if at > len(raw):
            break
    return frozenset(places)
