"""Lines that are no row of the table: a word to a spreadsheet, a comment, or a title above it, and its names again."""

import re
from collections import Counter
from collections.abc import Sequence

from tidemill.kit.errors import Invalid, Problem

_SEPARATOR = re.compile(r'[ "]*sep=.?[ "]*', re.IGNORECASE)
_FIRST_LINE = re.compile(r"[^\r\n]+")
COMMENT_MARK = "#"
_LEAST_ROWS = 2
NAMES_WITH_MARK = "The first line, which begins with #, was taken for the names; if it is a comment, remove it."


def refuse_separator_line(sample: str) -> None:
    """Raise Invalid for ``sep=;`` above the table, which tells a spreadsheet the delimiter."""
    line = _FIRST_LINE.search(sample)
    if line is not None and _SEPARATOR.fullmatch(line[0]):
        raise _refused("separator_line", "It tells a spreadsheet the delimiter and is no row: remove it.")


def refuse_comment(rows: Sequence[Sequence[str]], names_are_below: bool) -> None:
    """Raise Invalid where the first of ``rows`` begins like a comment and has not as many fields as most others.

    ``names_are_below``: the second row looks like the names, which means the same.
    """
    others = [row for row in rows if not row[0].lstrip().startswith(COMMENT_MARK)]
    if not others or rows[0] is others[0]:
        return
    (width, _), *_ = Counter(map(len, others)).most_common(1)
    if len(rows[0]) != width:
        detail = (
            f"It begins with # and has {len(rows[0])} fields where others have {width}: remove it if it is a comment."
        )
        raise _refused("comment_line", detail)
    if width == 1 and rows[1] is not others[0]:  # no delimiter fits both the comments and the table
        raise _refused("comment_line", "It begins with #, as the next one does: remove them if they are comments.")
    if names_are_below:
        raise _refused("comment_line", "It begins with #, and the next one looks like the names: remove one of them.")


def refuse_title(rows: Sequence[Sequence[str]]) -> None:
    """Raise Invalid where the first of ``rows`` has one field and most others have the same number of more."""
    if len(rows[0]) > 1 or len(rows) <= _LEAST_ROWS:
        return
    (width, count), *_ = Counter(map(len, rows[1:])).most_common(1)
    if width > 1 and 2 * count > len(rows):
        detail = f"It has one field where others have {width}: remove it if it is a title, and those that follow it."
        raise _refused("title_line", detail)


def repeated_names(line: int) -> Invalid:
    """The error of a row that says the names again."""
    detail = "It says the names again: remove it if files were put together; if the first line is no header, say so."
    return Invalid("names_repeated", f"The row at line {line} is not one of the table. {detail}",
                   [Problem(f"row {line}", "names_repeated", detail)])  # fmt: skip


def _refused(code: str, detail: str) -> Invalid:
    return Invalid(code, f"The first line is not one of the table. {detail}", [Problem("row 1", code, detail)])
