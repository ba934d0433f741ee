"""What the XML of a sheet says before a library reads it: libraries pass over what is out of order or out of place.

A sheet numbers its rows and cells, upwards; whoever reads one may rely on that, and openpyxl leaves out a row whose
number came before, and the first of two cells of one place. So what is not in order is refused with its place. A
formula without its value, a text that is in no table and a value where its type has none would be read as missing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from xml.parsers import expat

from tidemill.kit.errors import Invalid, Problem
from tidemill.training.ingest.excel_values import CellRules

_CHUNK_BYTES = 2**18
_LONGEST_TAG_BYTES = 2**20
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})", re.ASCII)
_MOST_COLUMNS = 2**14
_LETTERS = 26
_OF_ROWS = frozenset({"row", "c", "v", "f", "sheetData"})
_MOST_PLACES = 100
_MOST_INDEX_CHARACTERS = 10
_DETAILS = {
    "date_impossible": "Its number stands for no day between 1900 and 9999, or for 29 February 1900, which was none.",
    "number_too_small": "The number is nearer to zero than any that a sheet can hold.",
    "row_out_of_order": "Its number does not come after that of the row before.",
    "cell_out_of_order": "The cell does not come after the one before, or lies in another row.",
    "text_unknown": "The cell names a text that the workbook does not have.",
    "cell_unreadable": "The cell's value is not where its type says.",
}


@dataclass
class SheetFindings:
    """``formulas``: places (row, column, both from 1) of formulas that were never calculated, the first of them.

    merged, hidden_rows, hidden_columns: how many there are. width, last_row: of the last column and the last row that
    hold a value, both from 1; what lies beyond them is formatted at most.
    """

    width: int = 0
    last_row: int = 0

    formulas: list[tuple[int, int]] = field(default_factory=list)
    formula_count: int = 0
    merged: int = 0
    first_merged: str = ""
    hidden_rows: int = 0
    hidden_columns: int = 0

    def warnings(self) -> list[str]:
        """What a reader of the sheet may not see as it is read."""
        found = []
        if self.merged:
            merged = "1 merged cell" if self.merged == 1 else f"{self.merged} merged cells"
            found.append(
                f"The sheet has {merged}, the first at {self.first_merged}: its value is that of the upper left cell, "
                "the others are missing."
            )
        if self.hidden_rows or self.hidden_columns:
            hidden = f"{self.hidden_rows} hidden rows and {self.hidden_columns} groups of hidden columns"
            found.append(f"What the sheet hides was read too: {hidden}.")
        return found


def look_through(stream: IO[bytes], rules: CellRules) -> SheetFindings:
    """Raises Invalid (``sheet_out_of_order``, or the code of the place) naming row and cell of what a library would
    pass over or change, and whatever the parser raises about damaged XML.
    """
    walk = _Walk(rules)
    parser = expat.ParserCreate(namespace_separator="|")
    parser.buffer_text = True
    parser.StartElementHandler = walk.begin
    parser.EndElementHandler = walk.end
    parser.CharacterDataHandler = walk.text
    _feed(parser, stream)
    return walk.findings


def check_texts(stream: IO[bytes]) -> None:
    """Raises Invalid for a table of texts that would take for ever to parse, and whatever the parser raises."""
    _feed(expat.ParserCreate(), stream)


def _feed(parser: Any, stream: IO[bytes]) -> None:
    """Parsers begin a tag anew with every piece that they are given of it, so that a long one takes its square."""
    fed = 0
    while chunk := stream.read(_CHUNK_BYTES):
        parser.Parse(chunk, False)
        fed += len(chunk)
        if fed - parser.CurrentByteIndex > _LONGEST_TAG_BYTES:
            raise Invalid("file_damaged", f"The workbook's XML has a tag of more than {_LONGEST_TAG_BYTES} bytes.")
    parser.Parse(b"", True)


class _Walk:
    """One pass over the elements of a sheet."""

    def __init__(self, rules: CellRules) -> None:
        self.findings = SheetFindings()
        self._rules = rules
        self._row = self._column = 0
        self._inside = 0
        self._is_in_row = False
        self._cell: dict[str, Any] | None = None
        self._value: list[str] | None = None

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        space, _, tag = name.rpartition("|")
        self._inside += tag == "sheetData"
        if space != _MAIN:
            if self._inside and tag in _OF_ROWS:
                raise Invalid("sheet_unsupported", "The sheet is written in another dialect; save it as .xlsx again.")
        elif self._value is not None:
            raise self._unreadable("cell_unreadable")  # a library takes what stands before it for the whole value
        elif tag in _OF_ROWS or self._cell is not None:
            self._begin_inside(tag, attributes)
        elif tag == "mergeCell":
            self.findings.merged += 1
            self.findings.first_merged = self.findings.first_merged or attributes.get("ref", "")[:40]
        elif tag == "col" and _is_true(attributes.get("hidden")):
            self.findings.hidden_columns += 1

    def end(self, name: str) -> None:
        space, _, tag = name.rpartition("|")
        self._inside -= tag == "sheetData"
        if space != _MAIN:
            return
        if tag == "v" and self._cell is not None and self._value is not None:
            self._cell["value"] = "".join(self._value)
            self._value = None
        elif tag == "c" and self._cell is not None:
            self._end_cell(self._cell)
            self._cell = None
        elif tag == "row":
            self._is_in_row = False

    def text(self, data: str) -> None:
        if self._value is not None:
            self._value.append(data)

    def _begin_inside(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "c":
            self._begin_cell(attributes)
        elif tag == "row":
            self._begin_row(attributes)
        elif self._cell is not None:
            if tag == "v":
                if "value" in self._cell:
                    raise self._unreadable("cell_unreadable")
                self._value = []
            elif tag in ("f", "is"):
                self._cell[tag] = True

    def _begin_row(self, attributes: dict[str, str]) -> None:
        number = _whole(attributes["r"]) if "r" in attributes else self._row + 1
        if number is None or number <= self._row or self._is_in_row:
            raise _out_of_order(f"row {number or attributes['r'][:20]}", "row_out_of_order")
        self._row, self._column, self._is_in_row = number, 0, True
        self.findings.hidden_rows += _is_true(attributes.get("hidden"))

    def _begin_cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        row, column = (self._row, self._column + 1) if not reference else _place_of(reference)
        if self._cell is not None or row != self._row or not self._column < column <= _MOST_COLUMNS:
            raise _out_of_order(f"row {self._row}, cell {(reference or '')[:20]}", "cell_out_of_order")
        self._column = column
        self._cell = {"t": attributes.get("t", "n"), "s": attributes.get("s", "0")}

    def _end_cell(self, cell: dict[str, Any]) -> None:
        kind, value = cell["t"], cell.get("value")
        if value or "is" in cell:
            self.findings.width = max(self.findings.width, self._column)
            self.findings.last_row = self._row
        if "f" in cell and (value is None or (value == "" and kind != "str")) and "is" not in cell:
            self.findings.formula_count += 1
            if len(self.findings.formulas) < _MOST_PLACES:
                self.findings.formulas.append((self._row, self._column))
        if value and (code := self._rules.fault(kind, cell["s"], value)) is not None:
            raise self._unreadable(code)
        if (kind == "inlineStr") != ("is" in cell) and (value or "is" in cell):
            raise self._unreadable("cell_unreadable")

    def _unreadable(self, code: str) -> Invalid:
        place = f"row {self._row}, cell {letters_of(self._column)}{self._row}"
        if code == "date_impossible":
            detail = (
                f"A cell of the sheet is shown as a date and is none ({place}); correct it, or format it as a number."
            )
            return Invalid("date_impossible", detail, [Problem(place, code, _DETAILS[code])])
        detail = f"A cell of the sheet cannot be read ({place}); the workbook is damaged."
        return Invalid("file_damaged", detail, [Problem(place, code, _DETAILS[code])])


def letters_of(column: int) -> str:
    """Such as ``AB`` for 28."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, _LETTERS)
        letters = chr(ord("A") + rest) + letters
    return letters


def formulas_missing(findings: SheetFindings, names: Sequence[str], limit: int) -> Invalid | None:
    """The error that formulas without their values are, told by column and row."""
    if not findings.formula_count:
        return None
    places = [
        f"row {row}, column {names[column - 1] if column <= len(names) else letters_of(column)}"
        for row, column in findings.formulas[:limit]
    ]
    return Invalid(
        "formulas_without_values",
        f"{findings.formula_count} formulas have no value. Open the workbook in a spreadsheet program and save it.",
        [Problem(place, "formula_without_value", "The formula was never calculated.") for place in places],
    )


def _out_of_order(place: str, code: str) -> Invalid:
    detail = f"The sheet's rows and cells are not in order ({place}), so that some would be left out. Save it again."
    return Invalid("sheet_out_of_order", detail, [Problem(place, code, _DETAILS[code])])


def _place_of(reference: str) -> tuple[int, int]:
    """Row and column of a cell; zeros for what is no reference."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return 0, 0
    column = 0
    for letter in found[1].upper():
        column = column * _LETTERS + ord(letter) - ord("A") + 1
    return int(found[2]), column


def _whole(text: str) -> int | None:
    """As openpyxl reads a row's number; None for what is none."""
    try:
        number = float(text) if len(text) <= 2 * _MOST_INDEX_CHARACTERS else -1.0
    except ValueError:
        return None
    return int(number) if number.is_integer() and number > 0 else None


def _is_true(text: str | None) -> bool:
    return text in ("1", "true")
