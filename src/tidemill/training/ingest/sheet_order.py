"""Where a sheet's XML says its rows and cells stand.

Programs that read sheets as a stream, as the library here does, pass over a row whose number is not above the last
one, and a cell that is not right of the last one, and say nothing. Excel writes them in order; else it is damage.
"""

import re
from collections.abc import Iterator
from typing import IO

from tidemill.kit.errors import Invalid

_PLACED = re.compile(rb"<(?:\w+:)?(row|c)(?=[\s/>])(?:[^>]*?\sr\s*=\s*[\"']([^\"'>]*)[\"'])?")
_ROW, _CELL = re.compile(rb"[0-9]{1,7}"), re.compile(rb"\$?([A-Za-z]{1,3})\$?[0-9]{1,7}")
_AT_ONCE_BYTES = 2**20
_LETTERS = 26


def check_order(sheet: IO[bytes]) -> None:
    """Raises Invalid (``file_damaged``) at the first row or cell that does not come after the one before it.

    A row or cell that does not say where it stands follows the last.
    """
    row = column = 0
    for is_row, place in _places(sheet):
        if is_row:
            row, column = _next_row(row, place), 0
        else:
            column = _next_column(column, place, row)


def _places(sheet: IO[bytes]) -> Iterator[tuple[bool, bytes | None]]:
    """Of every row and cell: whether it is a row, and what it says."""
    begun = b""
    while chunk := sheet.read(_AT_ONCE_BYTES):
        text = begun + chunk
        last = text.rfind(b"<")
        begun = text[last:] if last >= 0 and text.find(b">", last) < 0 else b""
        if len(begun) > _AT_ONCE_BYTES and _PLACED.match(begun):
            raise Invalid("file_damaged", "The sheet holds a row or cell whose tag has no end.")
        whole = text[: len(text) - len(begun)]
        yield from ((found[1] == b"row", found[2]) for found in _PLACED.finditer(whole))
        begun = begun if len(begun) <= _AT_ONCE_BYTES else b""  # a comment


def _next_row(row: int, place: bytes | None) -> int:
    found = row + 1 if place is None else int(place) if _ROW.fullmatch(place) else 0
    if found <= row:
        raise Invalid("file_damaged", f"The row of the sheet after row {row} has a number that is not above it.")
    return found


def _next_column(column: int, place: bytes | None, row: int) -> int:
    known = None if place is None else _CELL.fullmatch(place)
    found = column + 1 if place is None else _number_of(known[1]) if known else 0
    if found <= column:
        raise Invalid("file_damaged", f"Row {row} of the sheet holds a cell that is not right of the one before it.")
    return found


def _number_of(letters: bytes) -> int:
    """A is 1, Z 26, AA 27."""
    number = 0
    for letter in letters.upper():
        number = number * _LETTERS + letter - ord("A") + 1
    return number
