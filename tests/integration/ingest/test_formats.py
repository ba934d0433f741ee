"""Every format and dialect gives the same table."""

import datetime as dt
import decimal
import gzip
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyarrow import feather

from tests.integration.ingest.ingesting import Ingest, table_of, types_of

ROWS: list[dict[str, Any]] = [
    {"name": "Zoë", "size": 1, "weight": 2.5, "day": dt.date(2024, 1, 31), "ok": True},
    {"name": "Jörg, the 2nd", "size": -7, "weight": None, "day": dt.date(2023, 12, 1), "ok": False},
    {"name": 'said "hi"', "size": 30, "weight": 0.125, "day": dt.date(2020, 2, 29), "ok": True},
]
TYPES = {"name": "string", "size": "integer", "weight": "float", "day": "date", "ok": "boolean"}


def delimited(delimiter: str = ",", quote: str = '"', end: str = "\n", header: bool = True) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, str):
            return quote + value.replace(quote, quote * 2) + quote
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    lines = [delimiter.join(ROWS[0])] if header else []
    return "".join(line + end for line in lines + [delimiter.join(map(cell, row.values())) for row in ROWS])


def check(result: Any) -> None:
    assert types_of(result) == TYPES
    assert table_of(result).to_pylist() == ROWS


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~"])
def test_any_common_delimiter_is_found(ingest: Ingest, delimiter: str) -> None:
    result = ingest(delimited(delimiter))
    check(result)
    assert result["source"]["delimiter"] == delimiter


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read(ingest: Ingest, end: str) -> None:
    check(ingest(delimited(end=end)))


def test_single_quotes_are_found(ingest: Ingest) -> None:
    check(ingest(delimited(";", "'")))


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"), ("utf-32", "utf-32"), ("latin-1", "cp1252"),
    ],
)  # fmt: skip
def test_any_common_encoding_is_found(ingest: Ingest, encoding: str, found: str) -> None:
    result = ingest(delimited().encode(encoding))
    check(result)
    assert result["source"]["encoding"] == found


def test_accents_that_stand_alone_are_western_however_they_could_be_read(ingest: Ingest) -> None:
    rows = "".join(f"{index:06d};{('A', 'B', 'Über')[index % 3]};{('ja', 'nein')[index % 2]}\n" for index in range(300))
    result = ingest(("Nr;Größe;gekündigt\n" + rows).encode("cp1252"))
    assert (result["source"]["encoding"], result["source"]["encoding_guessed"]) == ("cp1252", True)
    assert table_of(result).column_names == ["Nr", "Größe", "gekündigt"]


def test_windows_1252_is_told_from_latin_1_and_cyrillic_from_both(ingest: Ingest) -> None:
    result = ingest("name,price\nCafé,“5 €”\nThé,3 €\n".encode("cp1252"))
    assert table_of(result).column("price").to_pylist() == ["“5 €”", "3 €"]
    text = "имя,город\n" + "Илья,Тюмень\nЮлия,Вязьма\n" * 20
    result = ingest(text.encode("cp1251"))
    assert (result["source"]["encoding"], result["source"]["encoding_guessed"]) == ("cp1251", True)
    assert table_of(result).column_names == ["имя", "город"]


def test_late_bytes_that_are_not_utf8_change_the_encoding_of_the_whole_file(ingest: Ingest) -> None:
    content = b"a,b\n" + b"plain,1\n" * 300_000 + "é,2\n".encode("latin-1")
    result = ingest(content)
    assert table_of(result).column("a").to_pylist()[-1] == "é"


def test_compressed_files_are_read(ingest: Ingest) -> None:
    content = delimited().encode()
    for packed in (gzip.compress(content), gzip.compress(content[:40]) + gzip.compress(content[40:]),
                   zstandard.ZstdCompressor().compress(content)):  # fmt: skip
        check(ingest(packed))
    check(ingest(gzip.compress("\n".join(json.dumps(row, default=str) for row in ROWS).encode())))


def test_a_file_without_header_gets_names(ingest: Ingest) -> None:
    result = ingest(delimited(header=False))
    assert list(types_of(result)) == [f"column_{index}" for index in range(1, 6)]
    assert list(types_of(ingest("a,b\nc,d\n", has_header=False))) == ["column_1", "column_2"]
    assert types_of(ingest("name,2019,2020\nx,a,b\n")) == {"name": "string", "2019": "string", "2020": "string"}


def test_json_and_ndjson_are_read(ingest: Ingest) -> None:
    check(ingest(json.dumps(ROWS, default=str, indent=1)))
    check(ingest("\n\n".join(json.dumps(row, default=str, ensure_ascii=False) for row in ROWS)))
    check(ingest(json.dumps(ROWS, default=str).encode("utf-16")))


def test_json_keeps_what_is_text_and_every_digit(ingest: Ingest) -> None:
    lines = '{"a": "1", "b": 12345678901234567890123, "c": 1}\n{"a": "2", "b": 1, "d": true}\n'
    for content in (lines, "[" + ",".join(lines.splitlines()) + "]"):
        result = ingest(content)
        assert types_of(result) == {"a": "string", "b": "string", "c": "integer", "d": "boolean"}
        assert table_of(result).column("b").to_pylist() == ["12345678901234567890123", "1"]


def test_members_that_appear_late_become_columns(ingest: Ingest) -> None:
    lines = [json.dumps({"a": index}) for index in range(100_000)] + ['{"a": 1, "late": 2.5}']
    result = ingest("\n".join(lines))
    assert (types_of(result), result["row_count"]) == ({"a": "integer", "late": "float"}, 100_001)


def test_mixed_json_values_are_refused_by_line(ingest: Ingest) -> None:
    lines = [json.dumps({"a": index}) for index in range(50)]
    lines[10] = '{"a": "ten"}'
    assert ingest.places("\n".join(["", *lines])) == ["row 12, column a"]
    assert ingest.places("[" + ",".join(lines) + "]") == ["row 11, column a"]


def test_parquet_and_arrow_are_read(ingest: Ingest, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    table = table.set_column(0, "name", table.column("name").dictionary_encode())
    pq.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, tmp_path / "t.feather", compression="zstd")
    with pa.OSFile(str(tmp_path / "t.arrows"), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    for name in ("t.parquet", "t.feather", "t.arrows"):
        check(ingest(tmp_path / name))


def test_numbers_that_a_format_with_types_has_as_texts_are_told(ingest: Ingest, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["1", "2"], "b": ["007", "x"], "c": ["12%", "5%"]}), tmp_path / "t.parquet")
    said = ingest(tmp_path / "t.parquet")["warnings"]
    assert ["a is text in the file" in said[0], "c is read as text" in said[1], len(said)] == [True, True, 2]


def test_types_of_parquet_are_kept_widened_or_refused(ingest: Ingest, tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    moment = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    pq.write_table(
        pa.table({
            "small": pa.array([1, None], pa.int8()), "half": pa.array([0.5, float("nan")], pa.float32()),
            "when": pa.array([moment, moment], pa.timestamp("ns", "Europe/Paris")), "text": ["1", "2"],
            "large": pa.array(["a", "b"], pa.large_string()), "none": pa.nulls(2), "clock": [dt.time(1, 2), None],
        }),
        file,
    )  # fmt: skip
    result = ingest(file)
    assert types_of(result) == {
        "small": "integer", "half": "float", "when": "datetime", "text": "string",
        "large": "string", "none": "string", "clock": "string",
    }  # fmt: skip
    row = table_of(result).to_pylist()[0]
    assert (row["when"], table_of(result).column("half").null_count) == (dt.datetime(2024, 1, 1, 12), 1)  # noqa: DTZ001
    pq.write_table(pa.table({"x": [1.0, float("inf")], "n": pa.array([2**64 - 1, 1], pa.uint64())}), file)
    assert ingest.places(file) == ["row 1, column n", "row 2, column x"]
    pq.write_table(pa.table({"x": [[1], [2]], "y": [b"a", b"b"]}), file)
    assert ingest.places(file) == ["column x", "column y"]
    assert "--type" not in ingest.refused(file).detail


def workbook(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.create_sheet("empty", 0)
    for row in rows:
        book["Sheet"].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_excel_is_read_from_the_first_sheet_with_cells(ingest: Ingest) -> None:
    result = ingest(workbook([list(ROWS[0]), *[list(row.values()) for row in ROWS]]))
    check(result)
    assert result["source"] == {"format": "excel", "sheet": "Sheet", "has_header": True}


def test_excel_rows_are_numbered_as_the_spreadsheet_does(ingest: Ingest) -> None:
    rows: list[list[Any]] = [["a", "b"], [], *[[index, "007"] for index in range(40)]]
    assert types_of(ingest(workbook(rows))) == {"a": "integer", "b": "string"}
    rows[20][0] = "oops"
    assert ingest.places(workbook(rows)) == ["row 21, column a"]
    rows[20] = [1, "x", "too much"]
    assert ingest.places(workbook(rows)) == ["row 21"]
    assert ingest.refused(workbook(rows), sheet="nope").code == "sheet_not_found"


def test_formulas_need_their_values(ingest: Ingest) -> None:
    error = ingest.refused(workbook([["a", "b"], [1, "=A2*2"], [2, 3]]))
    assert (error.code, error.problems[0].pointer) == ("formulas_without_values", "row 2, column b")


def test_excel_tells_of_other_sheets_and_takes_its_own_mark_for_missing(ingest: Ingest) -> None:
    result = ingest(workbook([["a", "b"], [1, "#N/A"], [2, 3]]))
    assert table_of(result).column("b").to_pylist() == [None, 3]
    assert "--sheet" in result["warnings"][0]
    assert list(types_of(ingest(workbook([["country", 2019, 2020], ["x", 1, 2]])))) == ["country", "2019", "2020"]


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": 1}, {"a": "x"}, {"a": 2}, {"a": true}, {"a": "y"}]',
        '{"a": true}\n{"a": "x"}\n',
        workbook([["a", "b"], [1, 2], ["2", 3], [3, 3], ["4", 4]]),
    ],
)
def test_numbers_and_texts_in_one_column_are_texts_with_a_warning(ingest: Ingest, content: bytes | str) -> None:
    result = ingest(content)
    assert types_of(result)["a"] == "string"
    assert "beside texts" in " ".join(result["warnings"])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r\n\r"])
def test_lines_of_json_end_as_lines_of_text_do(ingest: Ingest, end: str) -> None:
    lines = ['{"a": 1}', '{"a": 2}', *['{"a": 3}'] * 50_000]
    assert ingest(end.join(lines))["row_count"] == len(lines)
    error = ingest.refused(end.join([*lines, '{"a": "x"}']))
    further = len(end.replace("\r\n", "\n"))
    assert [problem.pointer for problem in error.problems] == [f"row {further * len(lines) + 1}, column a"]


@pytest.mark.parametrize("kind", ["csv", "json", "ndjson", "parquet"])
def test_options_that_a_format_has_no_use_for_are_told(ingest: Ingest, tmp_path: Path, kind: str) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "t.parquet")
    files = {"csv": "a,b\n1,2\n", "json": '[{"a": 1, "b": 2}]', "ndjson": '{"a": 1}', "parquet": tmp_path / "t.parquet"}
    assert ingest.refused(files[kind], sheet="x").code == "sheet_not_found"
    warnings = " ".join(ingest(files[kind], delimiter=",", missing=["-"], has_header=True)["warnings"])
    assert ("--delimiter" in warnings, "--missing" in warnings) == (kind != "csv", kind == "parquet")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("sep=;\na;b\n1;2\n", "separator_line"),
        ('"sep=,"\r\na,b\r\n1,2\r\n', "separator_line"),
        ("# made by x\na,b\n1,2\n3,4\n", "comment_line"),
        ("# made by x, on y\na,b\n1,2\n3,4\n", "comment_line"),
        ("#one\n# two\n#\na;b;c\n1;2;3\n4;5;6\n", "comment_line"),
    ],
)
def test_a_first_line_that_is_no_row_is_refused_as_such(ingest: Ingest, content: str, code: str) -> None:
    assert ingest.refused(content).code == code


def test_names_may_begin_with_a_mark_of_comments(ingest: Ingest) -> None:
    result = ingest("#chrom\tpos\nchr1\t5\nchr2\t7\n")
    assert (list(types_of(result)), "begins with #" in result["warnings"][0]) == (["#chrom", "pos"], True)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('[{"a": 1, "a": 2}]', "member_repeated"),
        ('{"a": 1, "a": 2}', "member_repeated"),
        ('[{"a": "\\ud800"}]', "text_invalid"),
        ('{"a": "\\ud800"}', "text_invalid"),
        ('{"a": "x\\u0000"}', "text_invalid"),
        ("[[1, 2], [3, 4]]", "json_not_objects"),
        ("[1, 2]", "json_not_objects"),
        ('[{"a": 1}] more', "json_invalid"),
        ('[{"a": 1} {"a": 2}]', "json_invalid"),
        ("[{}, {}]", "no_columns"),
        ("[" * 5000, "json_invalid"),
    ],
)
def test_json_that_cannot_be_kept_is_refused(ingest: Ingest, content: str, code: str) -> None:
    assert ingest.refused(content).code == code


def test_json_numbers_may_have_thousands_of_digits(ingest: Ingest) -> None:
    result = ingest('[{"a": ' + "9" * 6000 + "}]")
    assert table_of(result).column("a").to_pylist() == ["9" * 6000]


def test_decimals_become_the_nearest_number_or_say_that_they_were_rounded(ingest: Ingest, tmp_path: Path) -> None:
    def file(*texts: str, kind: Any) -> Path:
        pq.write_table(pa.table({"x": pa.array(map(decimal.Decimal, texts), kind)}), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"

    exact = ingest(file("1.91", "0.10", kind=pa.decimal128(10, 2)))
    assert (table_of(exact).column("x").to_pylist(), exact["warnings"]) == ([1.91, 0.1], [])
    assert "rounded" in ingest(file("123456789012345678.91", kind=pa.decimal128(20, 2)))["warnings"][0]
    assert types_of(ingest(file("1", kind=pa.decimal128(38, 0)))) == {"x": "integer"}
    large = file("12345678901234567890", kind=pa.decimal128(38, 0))
    assert ingest.refused(large).code == "integers_too_large"
    assert table_of(ingest(large, types={"x": "string"})).column("x").to_pylist() == ["12345678901234567890"]


def test_times_that_do_not_fit_are_refused_or_told(ingest: Ingest, tmp_path: Path) -> None:
    file = tmp_path / "t.arrow"
    feather.write_feather(pa.table({"x": pa.array([2**60, 1], pa.timestamp("s"))}), file)
    assert ingest.refused(file).code == "dates_out_of_range"
    feather.write_feather(pa.table({"x": pa.array([2**30, 1], pa.date32())}), file)
    assert ingest.places(file) == ["row 1, column x"]
    feather.write_feather(pa.table({"x": pa.array([1001, 2000], pa.timestamp("ns"))}), file)
    assert "1 value" in ingest(file)["warnings"][0]


def test_a_stream_that_ends_between_two_batches_is_cut_short(ingest: Ingest, tmp_path: Path) -> None:
    table = pa.table({"x": list(range(1000))})
    with pa.OSFile(str(tmp_path / "t"), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    assert ingest.refused((tmp_path / "t").read_bytes()[:-8]).code == "file_damaged"


def test_text_that_is_none_is_refused_by_row(ingest: Ingest, tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ok\xff\xfe")
    pq.write_table(pa.table({"x": pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])}), tmp_path / "t")
    assert ingest.places(tmp_path / "t") == ["row 2, column x"]
    pq.write_table(pa.table({"x": ["a", "b\0"]}), tmp_path / "t")
    assert ingest.places(tmp_path / "t") == ["row 2, column x"]


def test_a_logical_type_that_is_wrapped_is_refused_by_column(ingest: Ingest, tmp_path: Path) -> None:
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", "1", None] * 10))
    pq.write_table(pa.table({"a": range(30), "j": texts}), tmp_path / "j.parquet")
    error = ingest.refused(tmp_path / "j.parquet")
    assert [(problem.pointer, problem.code) for problem in error.problems] == [("column j", "type_unsupported")]
