"""Every bad file gets an error of its own that names the place and no value."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.ingest.ingesting import Ingest
from tidemill.kit.errors import TooLarge
from tidemill.reading.text import decompress

ROWS = "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"\n\n  \n", "file_empty"),
        (b"a,b\n", "no_rows"),
        (b"a,b", "no_rows"),
        (b"a,b,a\n1,2,3\n", "column_name_duplicate"),
        (b"a,,c\n1,2,3\n", "column_name_empty"),
        (b"just one\n1\n2\n", "single_column"),
        (b"a,b\n1,2\n3,\x00\n", "nul_character"),
        (os.urandom(2000), "file_binary"),
        (b"%PDF-1.7\n\x01\x02\x03\x04\x05\x00\x00\x00" * 20, "format_unsupported"),
        (b"PK\x03\x04 no archive", "file_damaged"),
        (gzip.compress(ROWS.encode() * 1000, mtime=0)[:-30], "file_damaged"),
        (b"PAR1 no parquet", "file_damaged"),
        (b"ARROW1\0\0 no arrow", "file_damaged"),
        (b'{"a": 1}\n{"a": \n', "json_invalid"),
        (b'{"a": 1}\n[1]\n', "json_not_objects"),
        (b'{"a": 1, "b": {"c": 2}}\n', "nested_values"),
        (b'[{"a": 1}, {"a": ', "json_invalid"),
        (b'[{"a": [1, 2]}]', "nested_values"),
        (b"[]", "no_rows"),
        (b'a,b\n1,2\n3,"never closed\n4,5\n6,7\n', "quote_open"),
    ],
)
def test_a_bad_file_is_refused_with_a_code_of_its_own(ingest: Ingest, content: bytes, code: str) -> None:
    assert ingest.refused(content).code == code


@pytest.mark.parametrize("content", ['{"a": 1}\n5\n', '{"a": 1}\nnull\n', '[{"a": 1}, 5]', '{"a": 1}\n{"": 1}\n'])
def test_json_that_is_no_row_is_named_by_its_row(ingest: Ingest, content: str) -> None:
    assert ingest.places(content) == ["row 2"]


def test_ragged_rows_are_named_by_line_and_counted(ingest: Ingest) -> None:
    text = 'a,b\n1,2\n\n3\n"x\ny",5\n6,7,8\n9,10\n'
    error = ingest.refused(text)
    assert (error.code, [problem.pointer for problem in error.problems]) == ("rows_ragged", ["row 4", "row 7"])
    many = ingest.refused("a,b\n" + "1\n" * 5000)
    assert (len(many.problems), "5000 rows" in many.detail) == (100, True)


def test_problems_are_told_by_the_line_an_editor_shows(ingest: Ingest) -> None:
    text = 'a,b\n\n"x\n\ny",1\n' + "p,2\n" * 30 + "q,oops\n"
    assert ingest.places(text) == ["row 36, column b"]


def test_too_many_columns_are_refused_with_the_limit(ingest: Ingest, tmp_path: Path) -> None:
    names = [f"column{index}" for index in range(10_000)]
    error = ingest.refused(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert (error.code, "10000 columns" in error.detail, "2000" in error.detail) == ("too_many_columns", True, True)
    pq.write_table(pa.table({name: [1] for name in names}), tmp_path / "wide.parquet")
    assert ingest.refused(tmp_path / "wide.parquet").code == "too_many_columns"


def test_many_columns_are_read_and_profiled(ingest: Ingest) -> None:
    header, row = (",".join(f"{prefix}{index}" for index in range(200)) for prefix in ("c", ""))
    result = ingest(f"{header}\n{row}\n{row}\n")
    assert (len(result["columns"]), result["row_count"], len(result["profile"]["columns"])) == (200, 2, 200)


def test_a_row_longer_than_the_limit_is_refused(ingest: Ingest) -> None:
    assert ingest.refused(b"a,b\n1," + b"x" * 70_000_000 + b"\n").code == "row_too_long"


@pytest.mark.parametrize("size", [(16 << 20) + 1, 20_000_000, 40_000_000])
def test_a_row_that_no_prediction_takes_is_refused_by_its_line(ingest: Ingest, size: int) -> None:
    error = ingest.refused(b'a,b\n1,"x\ny"\n2,' + b"x" * size + b"\n3,z\n")
    assert error.code == "row_too_long"
    assert size > 30_000_000 or [problem.pointer for problem in error.problems] == ["line 4, column b"]


def test_a_row_of_the_largest_size_is_kept(ingest: Ingest) -> None:
    assert ingest(b"a,b\n" + b"x" * (8 << 20) + b"," + b"y" * (8 << 20) + b"\n")["row_count"] == 1


def test_a_long_row_within_the_limit_is_read(ingest: Ingest) -> None:
    assert ingest(b"a,b\n1," + b"x" * 5_000_000 + b"\n")["row_count"] == 1


def test_one_column_is_read_when_the_delimiter_is_declared(ingest: Ingest) -> None:
    result = ingest("x\n1\n\n3\n", delimiter=",")
    assert (result["row_count"], result["profile"]["columns"]["x"]["missing"]) == (3, 1)


def test_a_wrong_declaration_is_told(ingest: Ingest) -> None:
    assert ingest.refused(ROWS, format="parquet").code == "format_mismatch"
    assert ingest.refused(ROWS, encoding="klingon").code == "encoding_unknown"
    assert ingest.refused("a,b\n1,é\n".encode("latin-1"), encoding="utf-8").code == "encoding_wrong"


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a,b\n" * 1_000_000))
    with pytest.raises(TooLarge):
        decompress(tmp_path / "bomb.gz", tmp_path, 1_000_000)
