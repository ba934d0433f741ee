"""No row and no cell of a sheet is left out silently: it is read in its place, or refused with it."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.chart import BarChart
from openpyxl.worksheet._read_only import ReadOnlyWorksheet
from openpyxl.worksheet.merge import MergeCells

from tests.integration.ingest.ingesting import Ingest, table_of
from tests.integration.reading.workbooks import NAMES, WHOLE, sheet, workbook
from tidemill.training.ingest import excel_source


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    return Ingest(tmp_path)


def row(number: int | None, *cells: str) -> str:
    return f"<row{'' if number is None else f' r={chr(34)}{number}{chr(34)}'}>{''.join(cells)}</row>"


def cell(reference: str | None, value: object, kind: str = "n", formula: str = "") -> str:
    place = f' r="{reference}"' if reference else ""
    return f'<c{place} t="{kind}">{formula}<v>{value}</v></c>'


def column(name: str, *numbers: object) -> str:
    return "".join(row(number, cell(f"{name}{number}", value)) for number, value in enumerate(numbers, start=2))


TWO = row(2, cell("A2", 1), cell("B2", 2))
READ = {
    "rows without numbers": (row(None, cell("A2", 1), cell("B2", 2)) + row(None, cell(None, 3), cell(None, 4)), 2),
    "cells without references": (TWO + row(3, cell(None, 3), cell(None, 4)), 2),
    "a gap and rows after it": (TWO + row(9, cell("A9", 3), cell("B9", 4)) + row(None, cell(None, 5)), 3),
    "a number as a float writes it": (TWO + '<row r="3.0">' + cell("A3", 3) + "</row>", 2),
    "a cell left out": (TWO + row(3, cell("B3", 3)), 2),
    "an empty row": (TWO + row(3) + row(4, cell("A4", 3)), 2),
}
REFUSED = {
    "a row twice": (TWO + row(2, cell("A2", 3)), "sheet_out_of_order", "row 2"),
    "a row after a later one": (row(5, cell("A5", 1)) + row(4, cell("A4", 2)), "sheet_out_of_order", "row 4"),
    "the first row again at the end": (TWO + row(1, cell("A1", 9)), "sheet_out_of_order", "row 1"),
    "a number that is taken by a row without one": (
        row(None, cell(None, 1)) + row(2, cell("A2", 2)), "sheet_out_of_order", "row 2",
    ),
    "row zero": (row(0, cell("A0", 1)), "sheet_out_of_order", "row 0"),
    "no number": ('<row r="two">' + cell("A2", 1) + "</row>", "sheet_out_of_order", "row two"),
    "a cell twice": (row(2, cell("A2", 1), cell("A2", 2)), "sheet_out_of_order", "row 2, cell A2"),
    "a cell after a later one": (row(2, cell("B2", 1), cell("A2", 2)), "sheet_out_of_order", "row 2, cell A2"),
    "a reference that is taken by a cell without one": (
        row(2, cell("A2", 1), cell(None, 2), cell("B2", 3)), "sheet_out_of_order", "row 2, cell B2",
    ),
    "a cell of another row": (row(2, cell("A3", 1)), "sheet_out_of_order", "row 2, cell A3"),
    "a text beyond the table": (row(2, cell("A2", 99999, "s")), "file_damaged", "row 2, cell A2"),
    "a text counted from the end": (row(2, cell("A2", -1, "s")), "file_damaged", "row 2, cell A2"),
    "a number as a text within the cell": (
        row(2, '<c r="A2" t="n"><is><t>1</t></is></c>'), "file_damaged", "row 2, cell A2",
    ),
    "a text within the cell as a number": (row(2, cell("A2", 1, "inlineStr")), "file_damaged", "row 2, cell A2"),
    "a row within a row": (
        '<row r="2">' + cell("A2", 1) + row(3, cell("A3", 2)) + "</row>", "sheet_out_of_order", "row 3",
    ),
    "a cell within a cell": (
        row(2, '<c r="A2"><c r="B2"><v>1</v></c><v>2</v></c>'), "sheet_out_of_order", "row 2, cell B2",
    ),
    "two values": (row(2, '<c r="A2"><v>1</v><v>2</v></c>'), "file_damaged", "row 2, cell A2"),
    "a value with an element in it": (row(2, '<c r="A2"><v>1<v/>2</v></c>'), "file_damaged", "row 2, cell A2"),
    "a formula without an element for its value": (
        row(2, '<c r="A2"><f>1+1</f></c>', cell("B2", 1)), "formulas_without_values", "row 2, column a",
    ),
    "a formula with an empty value": (
        row(2, cell("A2", 1), cell("B2", "", "n", "<f>A2</f>")), "formulas_without_values", "row 2, column b",
    ),
    "a shared formula": (
        row(2, cell("A2", "", "n", '<f t="shared" si="0"/>')), "formulas_without_values", "row 2, column a",
    ),
    "a flag's formula": (row(2, '<c r="A2" t="b"><f>TRUE()</f></c>'), "formulas_without_values", "row 2, column a"),
    "a text's formula": (row(2, '<c r="A2" t="str"><f>"x"</f></c>'), "formulas_without_values", "row 2, column a"),
    "an error's formula": (row(2, '<c r="A2" t="e"><f>1/0</f><v/></c>'), "formulas_without_values", "row 2, column a"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_rows_and_cells_that_are_in_order_are_all_read(ingest: Ingest, name: str) -> None:
    rows, count = READ[name]
    assert table_of(ingest(workbook(sheet1=sheet(NAMES + rows)))).num_rows == count


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_left_out_or_read_as_missing_is_refused_with_its_place(ingest: Ingest, name: str) -> None:
    rows, code, place = REFUSED[name]
    error = ingest.refused(workbook(sheet1=sheet(NAMES + rows)))
    assert (error.code, [problem.pointer for problem in error.problems]) == (code, [place]), error.detail


def test_a_formula_whose_value_is_an_empty_text_has_one(ingest: Ingest) -> None:
    rows = TWO + row(3, cell("A3", 2), cell("B3", "", "str", '<f>""</f>'))
    assert table_of(ingest(workbook(sheet1=sheet(NAMES + rows)))).column("b").to_pylist() == [2, None]


def test_merged_and_hidden_cells_are_read_and_told(ingest: Ingest) -> None:
    rows = row(2, cell("A2", 1), cell("B2", 1)) + '<row r="3" hidden="1">' + cell("B3", 2) + "</row>"
    before = '<cols><col min="2" max="2" hidden="1"/></cols>'
    after = '<mergeCells count="1"><mergeCell ref="A2:A3"/></mergeCells>'
    result = ingest(workbook(sheet1=sheet(NAMES + rows, before, after)))
    assert table_of(result).to_pylist() == [{"a": 1, "b": 1}, {"a": None, "b": 2}]
    merged, hidden = (warning for warning in result["warnings"] if "merged" in warning or "hides" in warning)
    assert "A2:A3" in merged
    assert "1 hidden rows and 1 groups of hidden columns" in hidden


def test_the_size_that_a_sheet_claims_does_not_hide_its_rows(ingest: Ingest) -> None:
    rows = NAMES.replace('"1"', '"5"').replace("A1", "A5").replace("B1", "B5") + row(6, cell("A6", 1), cell("B6", 2))
    result = ingest(workbook(sheet1=sheet(rows, '<dimension ref="A1:A1"/>')))
    assert table_of(result).to_pylist() == [{"a": 1, "b": 2}]


def test_formulas_are_looked_for_wherever_the_sheet_lies_and_in_any_notation(ingest: Ingest) -> None:
    plain = sheet(NAMES + row(2, '<c r="A2"><f>1+1</f><v></v></c>'))
    prefixed = re.sub(r"<(/?)(?=[a-z])", r"<\1x:", plain, flags=re.IGNORECASE).replace(" xmlns=", " xmlns:x=")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(sheet1=prefixed))) as whole, zipfile.ZipFile(out, "w") as moved:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith((".rels", "[Content_Types].xml")):
                content = content.replace(b"worksheets/sheet1.xml", b"elsewhere/sheet1.xml")
            moved.writestr(name.replace("worksheets/sheet1.xml", "elsewhere/sheet1.xml"), content)
    assert ingest.refused(out.getvalue()).code == "formulas_without_values"


def test_no_more_is_read_of_a_sheet_than_holds_values(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formatted cells to the last column, and what follows the rows, would take the library minutes."""
    widths: list[int] = []
    made = ReadOnlyWorksheet._get_row

    def noting(self: ReadOnlyWorksheet, row: Any, *args: Any, **options: Any) -> Any:
        found = made(self, row, *args, **options)
        widths.append(len(found))
        return found

    monkeypatch.setattr(ReadOnlyWorksheet, "_get_row", noting)
    monkeypatch.setattr(MergeCells, "from_tree", lambda _: pytest.fail("parsed what follows the rows"))
    formatted = "".join(row(number, f'<c r="XFD{number}" s="1"/>') for number in range(3, 40))
    content = workbook(sheet1=sheet(NAMES + TWO + formatted, "", '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>'))
    assert table_of(ingest(content)).to_pylist() == [{"a": 1, "b": 2}]
    assert set(widths) == {2}


def test_a_tag_that_parsers_would_begin_again_and_again_is_refused(ingest: Ingest) -> None:
    content = workbook(sheet1=sheet(NAMES + f'<row r="2" spans="{" " * 2**21}">' + cell("A2", 1) + "</row>"))
    assert "tag" in ingest.refused(content).detail


def test_a_text_that_many_cells_share_is_bounded_by_row_and_in_all(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'<c r="A2" t="inlineStr"><is><t>{"x" * 17 * 2**20}</t></is></c>'
    long = ingest.refused(workbook(sheet1=sheet(NAMES + row(2, text))))
    assert (long.code, long.problems[0].pointer) == ("row_too_long", "row 2, column A")
    monkeypatch.setattr(excel_source, "most_unpacked_bytes", lambda *_: 2**21)
    book = openpyxl.Workbook()
    assert book.active is not None
    for values in (["a", "b"], *(["x" * 32_000, 1] for _ in range(100))):
        book.active.append(values)
    out = io.BytesIO()
    book.save(out)
    assert ingest.refused(out.getvalue()).code == "file_too_large"


def test_hidden_sheets_come_last_and_charts_are_no_sheets(ingest: Ingest) -> None:
    book = openpyxl.Workbook()
    book["Sheet"].append(["old"])
    book["Sheet"].append([1])
    book["Sheet"].sheet_state = "hidden"
    book.create_sheet("shown").append(["new"])
    book["shown"].append([2])
    book.create_chartsheet("chart").add_chart(BarChart())
    out = io.BytesIO()
    book.save(out)
    assert table_of(ingest(out.getvalue())).to_pylist() == [{"new": 2}]
    assert table_of(ingest(out.getvalue(), sheet="Sheet")).to_pylist() == [{"old": 1}]
    assert ingest.refused(out.getvalue(), sheet="chart").code == "sheet_not_found"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_workbook_with_two_sheets_of_one_name_is_refused(ingest: Ingest) -> None:
    out = io.BytesIO(WHOLE)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet(NAMES + TWO))
    assert ingest.refused(out.getvalue()).code == "file_damaged"
