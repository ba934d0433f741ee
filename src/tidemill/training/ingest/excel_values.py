"""Whether the text of a cell is a value of the cell's type.

Libraries take more than spreadsheets write, and make something else of it: `1_0` becomes 10, a number below all floats
0, the 29 February that 1900 did not have the 28th, a date before the calendar's first one of the year before.
"""

import re
from dataclasses import dataclass

from openpyxl.utils.datetime import from_ISO8601

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?", re.ASCII)
_SIGNIFICANT = re.compile(r"[1-9]", re.ASCII)
_MOST_INDEX_CHARACTERS = 10
_MOST_NUMBER_CHARACTERS = 1000
_ENDS = {False: 2_958_466, True: 2_957_004}
"""The first serial number after 9999, in days; by whether days are counted from 1904 instead of 1900."""
_NO_DAY = 60
"""29 February 1900, which spreadsheets count."""
_MOST_DAYS = 10**9
_UNTOLD = frozenset({"str", "e", "inlineStr"})
"""Kinds of cells whose text may be anything."""


@dataclass(frozen=True)
class CellRules:
    """Of one workbook. text_count: of its table of texts; date_styles, duration_styles: numbers of its styles."""

    text_count: int
    date_styles: frozenset[int] = frozenset()
    duration_styles: frozenset[int] = frozenset()
    from_1904: bool = False

    def fault(self, kind: str, style: str, text: str) -> str | None:
        """The code of what is wrong with a cell that holds ``text``; None if nothing is."""
        if kind == "n":
            return self._number_fault(style, text.strip())
        if kind == "s":
            return None if self._is_text(text.strip()) else "text_unknown"
        if kind == "b":
            return None if text.strip() in ("0", "1") else "cell_unreadable"
        if kind == "d":
            return None if _is_moment(text) else "cell_unreadable"
        return None if kind in _UNTOLD else "cell_unreadable"

    def _number_fault(self, style: str, text: str) -> str | None:
        if (
            len(text) > _MOST_NUMBER_CHARACTERS
            or not _NUMBER.fullmatch(text)
            or not (style.isascii() and style.isdigit())
        ):
            return "cell_unreadable"
        number = float(text)
        if number == 0 and _SIGNIFICANT.search(re.split("[eE]", text)[0]):
            return "number_too_small"
        if int(style) in self.duration_styles:
            return None if abs(number) < _MOST_DAYS else "date_impossible"
        if int(style) not in self.date_styles:
            return None
        is_day = 0 <= number < _ENDS[self.from_1904] and (self.from_1904 or int(number) != _NO_DAY)
        return None if is_day else "date_impossible"

    def _is_text(self, index: str) -> bool:
        is_number = len(index) <= _MOST_INDEX_CHARACTERS and index.isascii() and index.isdigit()
        return is_number and int(index) < self.text_count


def _is_moment(text: str) -> bool:
    try:
        from_ISO8601(text)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, OverflowError):
        return False
    return True
