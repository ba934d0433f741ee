"""Whether quotes that run across lines are quotes, or marks of inches and repetition that happen to pair up.

A mark at the beginning of a field and another one at the end of a field some lines on join these lines to one row, of
as many fields as every other one has, and nothing would tell that the others are gone. So a file has to show once that
it quotes at all: by its first row, or by a row that has as many fields as it should with its quotes alone.
"""

import csv
import io
from collections.abc import Mapping, Sequence

from tidemill.kit.errors import Invalid, Problem


class Quoting:
    """Looks at the rows of a delimited text one after the other.

    ``is_proven``: quotes of this text are known to be quotes, so that nothing is looked for any more.
    """

    def __init__(self, quote: str | None, delimiter: str, width: int, is_proven: bool = False) -> None:
        self.quote = quote or ""
        self._delimiter = delimiter
        self._width = width
        # A text of one column has no fields that could tell, and nobody repeats a column of its own.
        self.is_proven = is_proven or quote is None or width == 1

    def look(self, lines: Sequence[str], field_count: int, begins: int) -> None:
        """At a row made of ``lines``, from number ``begins`` on, in which ``field_count`` fields are found.

        Raises Invalid if its lines are whole rows without their quotes, and nothing before has proven any quotes.
        """
        if self.is_proven or field_count != self._width or not any(self.quote in line for line in lines):
            return
        filled = [line for line in lines if line.strip()]
        if any(line.count(self._delimiter) + 1 != self._width for line in filled):
            self.is_proven = True
        elif len(filled) > 1:
            raise _ambiguous(begins, len(lines) - 1, self._width)

    def is_proven_by(self, sample: str, reader_options: Mapping[str, object]) -> bool:
        """Whether the first row of ``sample``, which is a text's beginning, has quotes, or another one needs some."""
        lines = list(io.StringIO(sample, newline=""))
        reader = csv.reader(iter(lines), **reader_options)  # type: ignore[arg-type]
        seen = 0
        for row in reader:
            begins, seen = seen, reader.line_num
            if self.is_proven or (not begins and self._opens(lines[0])):
                return True
            try:
                self.look(lines[begins:seen], len(row), begins + 1)
            except Invalid:
                continue  # what is below may tell
        return self.is_proven

    def _opens(self, line: str) -> bool:
        return line.startswith(self.quote) or self._delimiter + self.quote in line


def _ambiguous(begins: int, further: int, width: int) -> Invalid:
    on = "on the next line" if further == 1 else f"{further} lines further on"
    detail = (
        f"A quote opens in line {begins} and closes {on}, but each of these lines is a whole row of {width} fields by "
        "itself. If a text runs across lines, put the names in the first line in quotes; if the marks belong to the "
        "texts, double them in quotes. For a dataset --quote says which it is."
    )
    return Invalid("quote_ambiguous", detail, [Problem(f"row {begins}", "quote_ambiguous", "The row may be several.")])
