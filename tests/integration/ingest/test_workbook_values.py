"""Cells of workbooks are read as what they are, or refused by their place: libraries make other values of some."""

import io
import zipfile
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from tests.integration.ingest.ingesting import Ingest, table_of

_SHEET = "xl/worksheets/sheet1.xml"


def _workbook(*rows: list[Any], as_dates: bool = False, from_1904: bool = False, fmt: str = "yyyy-mm-dd") -> bytes:
    book = openpyxl.Workbook()
    if from_1904:
        book.epoch = CALENDAR_MAC_1904
    for row in rows:
        book.active.append(row)
    if as_dates:
        for cell in book.active["A"][1:]:
            cell.number_format = fmt
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _with(book: bytes, old: bytes, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as read, zipfile.ZipFile(out, "w") as written:
        for entry in read.infolist():
            data = read.read(entry.filename)
            if entry.filename == _SHEET:
                assert old in data
                data = data.replace(old, new)
            written.writestr(entry.filename, data)
    return out.getvalue()


@pytest.mark.parametrize("text", ["1_0", "3.x5", "nan", "inf", "\u0663", "0x1F", "1e-400", "1e", "--1", "9" * 5000])
def test_a_number_that_is_none_is_refused_by_its_cell(ingest: Ingest, text: str) -> None:
    book = _with(_workbook(["a", "b"], [1, 2], [3.5, 4]), b"<v>3.5</v>", f"<v>{text}</v>".encode())
    error = ingest.refused(book)
    assert (error.code, [problem.pointer for problem in error.problems]) == ("file_damaged", ["row 3, cell A3"])


@pytest.mark.parametrize(
    "cell",
    [
        b't="b"><v>x</v>', b't="b"><v>5</v>', b't="b"><v>true</v>', b't="d"><v>soon</v>', b't="?"><v>1</v>',
        b's="x"><v>1</v>',
    ],
)  # fmt: skip
def test_a_value_unlike_its_type_is_refused_by_its_cell(ingest: Ingest, cell: bytes) -> None:
    book = _with(_workbook(["a", "b"], [True, 2], [False, 4]), b't="b"><v>0</v>', cell)
    error = ingest.refused(book)
    assert (error.code, [problem.pointer for problem in error.problems]) == ("file_damaged", ["row 3, cell A3"])


@pytest.mark.parametrize("text", ["10", " 10 ", "+10", "10.", "1E1", "100e-1"])
def test_a_number_may_be_written_as_numbers_are(ingest: Ingest, text: str) -> None:
    book = _with(_workbook(["a", "b"], [1, 2], [3.5, 4]), b"<v>3.5</v>", f"<v>{text}</v>".encode())
    assert table_of(ingest(book)).column("a").to_pylist() == [1, 10]


@pytest.mark.parametrize(
    ("serial", "from_1904", "day"),
    [
        (1, False, "1900-01-01"), (59, False, "1900-02-28"), (61, False, "1900-03-01"), (2958465, False, "9999-12-31"),
        (1, True, "1904-01-02"), (60, True, "1904-03-01"), (2957003, True, "9999-12-31"),
    ],
)  # fmt: skip
def test_dates_are_those_that_the_spreadsheet_shows(ingest: Ingest, serial: int, from_1904: bool, day: str) -> None:
    book = _workbook(["a", "b"], [serial, 1], [100, 2], as_dates=True, from_1904=from_1904)
    assert str(table_of(ingest(book)).column("a")[0].as_py()) == day


@pytest.mark.parametrize(
    ("serial", "from_1904"),
    [(60, False), (60.5, False), (-1, False), (-0.5, False), (2958466, False), (-1, True), (2957004, True)],
)
def test_what_is_formatted_as_a_date_and_is_none_is_refused_by_its_cell(
    ingest: Ingest, serial: float, from_1904: bool
) -> None:
    error = ingest.refused(_workbook(["a", "b"], [100, 1], [serial, 2], as_dates=True, from_1904=from_1904))
    assert (error.code, [problem.pointer for problem in error.problems]) == ("date_impossible", ["row 3, cell A3"])


def test_a_span_of_time_may_be_negative_or_longer_than_a_calendar(ingest: Ingest) -> None:
    book = _workbook(["a", "b"], [1.5, 1], [3_000_000, 2], as_dates=True, fmt="[h]:mm:ss")
    result = ingest(book)
    assert table_of(result).column("a").to_pylist() == ["1 day, 12:00:00", "3000000 days, 0:00:00"]
    assert "durations" in result["warnings"][0]


def test_a_sheet_that_is_not_there_is_told_with_those_that_are(ingest: Ingest) -> None:
    error = ingest.refused(_workbook(["a"], [1]), sheet="nope")
    assert (error.code, "It has: Sheet." in error.detail) == ("sheet_not_found", True)
