"""Delimiter, quote and header of delimited text, from its beginning.

The delimiter is the one that cuts most rows into the same number of fields (compare van den Burg, Nazabal and Sutton
2019, "Wrangling messy CSV files by detecting row and type patterns"): the pattern of rows times how many cells have a
recognisable type.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidemill.kit.errors import Invalid, Problem, TooLarge
from tidemill.schemas.datasets import MAX_COLUMNS, MAX_ROW_PROBLEMS, IngestOptions

csv.field_size_limit(2**31 - 1)
_SAMPLE_CHARACTERS = 2**18
_SAMPLE_ROWS = 500
_DELIMITERS = (",", "\t", ";", "|", "^", "~", ":", " ")
_UNLIKELY = frozenset(": ~^")
_TYPED = re.compile(
    r"\s*([+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-][\d:]+)?)?|true|false|)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quote: str | None
    escape: str | None
    has_header: bool
    names: tuple[str, ...]

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
    """The dialect of the UTF-8 file ``path``; ``options`` win over what it looks like.

    Raises Invalid for an empty file, one column only, or names that are empty or repeated; TooLarge for too many.
    """
    sample = _sample(path)
    quote = _quote(sample)
    escape = "\\" if quote and f"\\{quote}" in sample and f"{quote}{quote}" not in sample else None
    delimiter = options.delimiter or _delimiter(sample, quote)
    first = Dialect(delimiter, quote, escape, True, ())
    rows = [row for row in _rows(sample, first) if row]
    if not rows:
        raise Invalid("file_empty", "The file holds no rows.")
    width = len(rows[0])
    if width > MAX_COLUMNS:
        raise TooLarge("too_many_columns", f"The file has {width} columns; at most {MAX_COLUMNS} are read.")
    has_header = _looks_like_header(rows) if options.has_header is None else options.has_header
    names = checked_names(rows[0]) if has_header else tuple(f"column_{index + 1}" for index in range(width))
    if width == 1 and options.delimiter is None:
        raise Invalid(
            "single_column", "The file seems to have one column only. If that is not so, name its delimiter; if it is, "
            "name any delimiter that it does not use."
        )  # fmt: skip
    return Dialect(delimiter, quote, escape, has_header, names)


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


def _sample(path: Path) -> str:
    """Whole rows from the beginning: the last, perhaps cut, line is left out unless it is the only one."""
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        text = stream.read(_SAMPLE_CHARACTERS)
        more = bool(stream.read(1))
    if not text.strip():
        raise Invalid("file_empty", "The file holds no rows.")
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text[:end] if more and end else text


def _quote(sample: str) -> str | None:
    """The double quote, unless only single quotes stand where fields begin and end."""
    double = len(re.findall(r'(?:^|[,;\t|])"', sample, re.MULTILINE))
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\r\n]*'(?=[,;\t|\r\n]|$)", sample, re.MULTILINE))
    return "'" if single > 0 and double == 0 else '"'


def _delimiter(sample: str, quote: str | None) -> str:
    scores = {delimiter: _score(sample, delimiter, quote) for delimiter in _DELIMITERS}
    best = max(scores, key=lambda delimiter: scores[delimiter])
    return best if scores[best] > 0 else ","


def _score(sample: str, delimiter: str, quote: str | None) -> float:
    rows = [row for row in _rows(sample, Dialect(delimiter, quote, None, True, ())) if row]
    if not rows:
        return 0
    (width, count), *_ = Counter(len(row) for row in rows).most_common(1)
    if width < 2 or (delimiter in _UNLIKELY and count < len(rows)):
        return 0
    cells = [cell for row in rows[1:] or rows for cell in row]
    typed = sum(_TYPED.fullmatch(cell) is not None for cell in cells) / len(cells)
    likely = 0.3 if delimiter in _UNLIKELY else 1.0
    return likely * (count / len(rows)) ** 2 * (1 - 1 / width) * (0.5 + typed)


def _rows(sample: str, dialect: Dialect) -> list[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), **dialect.reader_options())  # type: ignore[arg-type]
    return [row for row, _ in zip(reader, range(_SAMPLE_ROWS), strict=False)]


def _looks_like_header(rows: list[list[str]]) -> bool:
    """A first row of texts only is a header; one with numbers is, if in no column the rows below look like it."""
    first, below = rows[0], rows[1:]
    typed = [index for index, cell in enumerate(first) if cell.strip() and _TYPED.fullmatch(cell)]
    if not typed:
        return True
    return bool(below) and not any(_share_typed(below, index) > 0.5 for index in typed)


def _share_typed(rows: list[list[str]], index: int) -> float:
    cells = [row[index] for row in rows if index < len(row)]
    return sum(_TYPED.fullmatch(cell) is not None for cell in cells) / max(1, len(cells))
