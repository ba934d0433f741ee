"""Delimiter, quote and header of delimited text, from its beginning.

The delimiter is the one that cuts most rows into the same number of fields (compare van den Burg, Nazabal and Sutton
2019, "Wrangling messy CSV files by detecting row and type patterns"): the pattern of rows times how many cells have a
recognisable type. A backslash before a quote is an escape only if the quotes make no sense otherwise.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.reading.first_line import (
    COMMENT_MARK,
    NAMES_WITH_MARK,
    refuse_comment,
    refuse_separator_line,
    refuse_title,
)
from tidemill.reading.quoting import Quoting
from tidemill.schemas.datasets import MAX_COLUMNS, MAX_ROW_PROBLEMS, IngestOptions

csv.field_size_limit(2**31 - 1)
SAMPLE_CHARACTERS = 2**18
_SAMPLE_ROWS = 500
_DELIMITERS = (",", "\t", ";", "|", "^", "~", ":", " ")
_NO_DELIMITERS = frozenset("\0\r\n")
_UNLIKELY = frozenset(": ~^")
_LIKELY = frozenset(",;\t|")
_SINGLE_QUOTED = re.compile(r"(?:^|[,;\t|])('[^'\r\n]*(?:''[^'\r\n]*)*')(?=[,;\t|\r\n]|$)", re.MULTILINE)
# Of cells without blanks around them: patterns that allow for these themselves go through a blank cell many times.
_YEAR = re.compile(r"(19|20)\d\d")
_TYPED = re.compile(
    r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-][\d:]+)?)?|true|false|",
    re.IGNORECASE,
)
INDEX_NAME = "column_1"
NO_HEADER = "The first row was taken for values, not for names: it looks like the rows below. --header makes it names."


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quote: str | None
    escape: str | None
    has_header: bool
    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    quotes_proven: bool = False
    """Whether the beginning shows, or the options say, that quotes are quotes."""

    def quoting(self) -> Quoting:
        """What looks at the text's rows from the first on."""
        return Quoting(self.quote, self.delimiter, len(self.names), self.quotes_proven)

    @property
    def repeatable_names(self) -> tuple[int, tuple[str, ...]]:
        """Names that a row would say again where files were put together, and the place of the first one.

        None in a file of one column, whose texts may be anything, and without a header.
        """
        if not self.has_header or len(self.names) == 1:
            return 0, ()
        first = 1 if self.names[0] == INDEX_NAME else 0  # which may be made up
        return first, self.names[first:]

    def reader_options(self) -> dict[str, object]:
        """For the csv module of the standard library, which reads the same rows as the fast reader."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote or '"',
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "doublequote": True,
        }


def sniff(path: Path, options: IngestOptions) -> Dialect:
    """The dialect of the UTF-8 file ``path``; as `sniff_sample`."""
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        return sniff_sample(beginning_of(iter(lambda: stream.read(SAMPLE_CHARACTERS), "")), options)


def sniff_sample(sample: str, options: IngestOptions, expected: Collection[str] = ()) -> Dialect:
    """The dialect of a text by its beginning; ``options`` win over what it looks like.

    ``expected``: names that the reader looks for. A first row that holds some of them is a header, cut at what makes
    most of them appear.

    Raises Invalid for an empty file, one column only, or names that are empty or repeated; TooLarge for too many.
    """
    if options.delimiter is not None and (not options.delimiter.isascii() or options.delimiter in _NO_DELIMITERS):
        raise Invalid("delimiter_invalid", "A delimiter is one character of ASCII that ends no line.")
    refuse_separator_line(sample)
    cutting = _cutting(sample, options, expected)
    rows = [row for row in _rows(sample, cutting) if row]
    if not rows:
        raise Invalid("file_empty", "The file holds no rows.")
    refuse_comment(rows, options.has_header is None and _names_stand_second(rows))
    width = len(rows[0])
    if width > MAX_COLUMNS:
        raise TooLarge("too_many_columns", f"The file has {width} columns; at most {MAX_COLUMNS} are read.")
    is_named = _named(rows[0], expected) > 0
    if not is_named:
        refuse_title(rows)
    has_header = is_named or _looks_like_header(rows) if options.has_header is None else options.has_header
    names = checked_names(_with_index(rows[0])) if has_header else tuple(f"column_{i + 1}" for i in range(width))
    if width == 1 and options.delimiter is None and not is_named:
        raise Invalid(
            "single_column", "The file seems to have one column only. If that is not so, name its delimiter; if it is, "
            "name any delimiter that it does not use."
        )  # fmt: skip
    proven = options.quote is not None or _proves_quotes(sample, cutting, width)
    warnings = _warnings(options, has_header, rows[0])
    return replace(cutting, has_header=has_header, names=names, warnings=warnings, quotes_proven=proven)


def _proves_quotes(sample: str, dialect: Dialect, width: int) -> bool:
    if dialect.quote is None or dialect.quote not in sample:
        return False
    return Quoting(dialect.quote, dialect.delimiter, width).is_proven_by(sample, dialect.reader_options())


def _warnings(options: IngestOptions, has_header: bool, first: list[str]) -> tuple[str, ...]:
    if has_header:
        if first[0].lstrip().startswith(COMMENT_MARK):
            return (NAMES_WITH_MARK,)
        return () if first[0].strip() else (f"The first column has no name and is called {INDEX_NAME}.",)
    return (NO_HEADER,) if options.has_header is None else ()


def _with_index(names: list[str]) -> list[str]:
    """Data frames are often written with their row numbers in a first column without a name."""
    named = names[0].strip() or len(names) == 1 or INDEX_NAME in names
    return names if named else [INDEX_NAME, *names[1:]]


def checked_names(found: Sequence[str]) -> tuple[str, ...]:
    """Names without surrounding blanks. Raises Invalid for empty and repeated ones."""
    names = tuple(name.strip() for name in found)
    counts = Counter(names)
    problems = [
        Problem(f"column {index + 1}", "column_name_empty", "The name is empty.")
        if not name
        else Problem(f"column {index + 1}", "column_name_duplicate", f"The name {name!r} is used {counts[name]} times.")
        for index, name in enumerate(names)
        if not name or counts[name] > 1
    ]
    if problems:
        raise Invalid(
            problems[0].code,
            f"{len(problems)} of {len(names)} column names are empty or repeated.",
            problems[:MAX_ROW_PROBLEMS],
        )
    return names


def beginning_of(chunks: Iterable[str]) -> str:
    """Whole rows from the beginning: the last, perhaps cut, line is left out unless it is the only one."""
    text = ""
    for chunk in chunks:
        text += chunk
        if len(text) > SAMPLE_CHARACTERS:
            break
    if not text.strip():
        raise Invalid("file_empty", "The file holds no rows.")
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    text = text[:SAMPLE_CHARACTERS]
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text[:end] if end else text


def _named(row: Sequence[str], expected: Collection[str]) -> int:
    """How many of the expected names a row holds."""
    return len({cell.strip() for cell in row} & set(expected))


def _cutting(sample: str, options: IngestOptions, expected: Collection[str]) -> Dialect:
    """How rows are cut into fields."""
    quote = _quote(sample) if options.quote is None else None if options.quote == "none" else options.quote
    found = Dialect(options.delimiter or _delimiter(sample, quote, expected), quote, None, True, ())
    if quote is None or _is_strict(sample, found):
        return found
    escaped = replace(found, escape="\\")
    return escaped if f"\\{quote}" in sample and _is_strict(sample, escaped) else found


def _is_strict(sample: str, dialect: Dialect) -> bool:
    """Whether what follows a closing quote is always a delimiter or the end of the row; the last may close later."""
    stream = io.StringIO(sample, newline="")
    try:
        for _ in csv.reader(stream, strict=True, **dialect.reader_options()):  # type: ignore[arg-type]
            pass
    except csv.Error as error:
        return ends_within_quotes(error)
    return True


def ends_within_quotes(error: csv.Error) -> bool:
    """Whether a strict reading failed since the text ended before a quote closed."""
    return "unexpected end" in str(error)


def _quote(sample: str) -> str:
    """The double quote, unless only single quotes stand where fields begin and end, and are needed or usual."""
    if re.search(r'(?:^|[,;\t|])"', sample, re.MULTILINE):
        return '"'
    fields = _SINGLE_QUOTED.findall(sample)
    needed = any(not _LIKELY.isdisjoint(field) for field in fields)
    return "'" if fields and (needed or 2 * len(fields) >= sample.count("\n")) else '"'


def _delimiter(sample: str, quote: str | None, expected: Collection[str]) -> str:
    named = {delimiter: _named(_first_row(sample, delimiter, quote), expected) for delimiter in _DELIMITERS}
    scores = {delimiter: _score(sample, delimiter, quote) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: (named[delimiter], scores[delimiter]))
    return best if named[best] or scores[best] > 0 else ","


def _first_row(sample: str, delimiter: str, quote: str | None) -> list[str]:
    rows = csv.reader(io.StringIO(sample, newline=""), **Dialect(delimiter, quote, None, True, ()).reader_options())  # type: ignore[arg-type]
    return next((row for row in rows if row), [])


def _score(sample: str, delimiter: str, quote: str | None) -> float:
    rows = [row for row in _rows(sample, Dialect(delimiter, quote, None, True, ())) if row]
    if not rows:
        return 0
    (width, count), *_ = Counter(len(row) for row in rows).most_common(1)
    if width < 2 or (delimiter in _UNLIKELY and count < len(rows)):
        return 0
    cells = [cell for row in rows[1:] or rows for cell in row]
    typed = sum(_is(_TYPED, cell) for cell in cells) / len(cells)
    likely = 0.3 if delimiter in _UNLIKELY else 1.0
    fitting = 1.0 if len(rows[0]) == width else 0.5
    uncut = 1 - 0.5 * _share_uncut(cells, delimiter)
    return likely * fitting * uncut * (count / len(rows)) ** 2 * (1 - 1 / (width + 1)) * (0.5 + typed)


def _share_uncut(cells: list[str], delimiter: str) -> float:
    """Cells that are no number or date and hold another delimiter; a comma may as well be a mark of punctuation."""
    others = _LIKELY - {delimiter, ","}
    uncut = sum(not others.isdisjoint(cell) and not _is(_TYPED, cell) for cell in cells)
    return uncut / len(cells)


def _rows(sample: str, dialect: Dialect) -> list[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), **dialect.reader_options())  # type: ignore[arg-type]
    return [row for row, _ in zip(reader, range(_SAMPLE_ROWS), strict=False)]


def _looks_like_header(rows: list[list[str]]) -> bool:
    """A first row of texts only is a header; one with numbers is, if in no column the rows below look like it.

    So is one whose only numbers are different years, over columns that hold no years: a table with a column a year.
    """
    first, below = rows[0], rows[1:]
    typed = [index for index, cell in enumerate(first) if cell.strip() and _is(_TYPED, cell)]
    if not typed or _has_years(first, below, typed):
        return True
    return bool(below) and not any(_share_typed(below, index) > 0.5 for index in typed)


def _names_stand_second(rows: list[list[str]]) -> bool:
    """Whether the second row has texts over columns that are otherwise numbers or dates."""
    below = rows[2:]
    is_typed = [_share_typed(below, index) > 0.5 for index in range(len(rows[0]))] if below else []
    return any(is_typed) and _looks_like_header(rows[1:])


def _has_years(first: list[str], below: list[list[str]], typed: list[int]) -> bool:
    years = [first[index] for index in typed if _is(_YEAR, first[index])]
    if len(typed) < 2 or len(set(years)) < len(typed) or len(typed) == len(first):
        return False
    return bool(below) and not any(_share(below, index, _YEAR) > 0.5 for index in typed)


def _share_typed(rows: list[list[str]], index: int) -> float:
    return _share(rows, index, _TYPED)


def _share(rows: list[list[str]], index: int, pattern: re.Pattern[str]) -> float:
    cells = [row[index] for row in rows if index < len(row)]
    return sum(_is(pattern, cell) for cell in cells) / max(1, len(cells))


def _is(pattern: re.Pattern[str], cell: str) -> bool:
    return pattern.fullmatch(cell.strip()) is not None
