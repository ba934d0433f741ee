"""Rows for `tidemill predict`: sent as the model's signature takes them, or refused by their place."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.ingest.ingesting import Ingest, table_of
from tidemill.cli.predict import rows_of_json
from tidemill.cli.prediction_results import ResultFile
from tidemill.cli.prediction_rows import RowFile, checked_rows
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.signatures import Column

COLUMNS = [Column("a", "double", True), Column("b", "long", False), Column("c", "string", False)]


def rows_of(file: Path, columns: list[Column] = COLUMNS) -> list[dict[str, Any]]:
    rows = [row for batch in RowFile(file, columns).batches(2) for row in batch.rows]
    json.dumps(rows, allow_nan=False, ensure_ascii=False).encode()
    return rows


def written(path: Path, content: bytes | pa.Table) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    return path


def test_decimals_are_numbers_and_nan_is_missing(tmp_path: Path) -> None:
    table = pa.table({"a": [Decimal("1.50"), None], "b": [Decimal("12345678901234567"), None], "c": ["x", None]})
    assert rows_of(written(tmp_path / "x.parquet", table)) == [
        {"a": 1.5, "b": 12345678901234567, "c": "x"},
        {"a": None, "b": None, "c": None},
    ]
    nan = pa.table({"a": [float("nan"), 1.0]})
    assert rows_of(written(tmp_path / "nan.parquet", nan)) == [{"a": None}, {"a": 1.0}]
    assert rows_of(written(tmp_path / "x.ndjson", b'{"a": NaN}\n{"a": 1}\n')) == [{"a": None}, {"a": 1}]
    assert rows_of(written(tmp_path / "x.csv", b"a,b\nNaN,1\nNA,\n1,null\n"))[:2] == [
        {"a": None, "b": 1},
        {"a": None, "b": None},
    ]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("x.csv", b"a,b\n1,1\ninf,1\n", "line 3, column a"),
        ("x.csv", b"a,b\n1,1\n1e999,1\n", "line 3, column a"),
        ("x.csv", b"a,b\n1,1\n1,NA\n1,1.5\n", "line 4, column b"),
        ("x.ndjson", b'{"a": 1}\n\n{"a": 1e999}\n', "line 3, column a"),
        ("x.ndjson", b'{"a": 1, "c": "\\ud800"}\n', "line 1, column c"),
        ("x.jsonl", b'{"a": 1, "c": {"d": [Infinity]}}\n', "line 1, column c"),
        ("x.ndjson", b'{"a": 1}\n[1]\n', "line 2"),
        ("x.ndjson", b'{"a": 1}\n{"a": 1, "a": 2}\n', "line 2"),
        ("x.ndjson", b'{"a": 1, "unknown": {"b": 1, "b": 2}}\n', "line 1"),
        ("x.parquet", pa.table({"a": [1.0, float("inf")]}), "row 2, column a"),
        ("x.parquet", pa.table({"a": [1.0], "c": [b"x"]}), "row 1, column c"),
        ("x.parquet", pa.table({"a": [1.0], "c": pa.array([2**60], pa.timestamp("us"))}), "row 1, column c"),
        ("x.parquet", pa.table({"a": [1.0], "c": pa.array([2**30], pa.date32())}), "row 1, column c"),
        ("x.parquet", pa.table({"a": [1.0], "c": pa.array([5], pa.duration("s"))}), "row 1, column c"),
    ],
)
def test_what_cannot_be_sent_is_named_by_its_place(
    tmp_path: Path, name: str, content: bytes | pa.Table, place: str
) -> None:
    with pytest.raises(Invalid) as caught:
        rows_of(written(tmp_path / name, content))
    assert [problem.pointer for problem in caught.value.problems] == [place]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    with pytest.raises(Invalid, match="same name"):
        rows_of(written(tmp_path / "x.parquet", table))


def test_a_packed_file_in_another_encoding_is_read_and_the_guess_told(tmp_path: Path) -> None:
    said: list[str] = []
    columns = [Column("gr\u00f6\u00dfe", "double", True)]
    file = written(tmp_path / "x.csv", "ort;gr\u00f6\u00dfe\nK\u00f6ln;1.5\n".encode("cp1252"))
    assert [batch.rows for batch in RowFile(file, columns, said.append).batches(10)] == [[{"gr\u00f6\u00dfe": 1.5}]]
    assert ["cp1252" in sentence for sentence in said] == [True]


def test_digits_that_are_cut_off_are_told_once(tmp_path: Path) -> None:
    table = pa.table(
        {"a": [Decimal("1.2345678901234567890")] * 2, "c": pa.array([1_000, 1_234_567_891], pa.timestamp("ns", "X/Y"))}
    )
    said: list[str] = []
    (batch,) = RowFile(written(tmp_path / "x.parquet", table), COLUMNS, said.append).batches(10)
    assert [row["c"] for row in batch.rows] == ["1970-01-01T00:00:00.000001+00:00", "1970-01-01T00:00:01.234567+00:00"]
    assert [f"column {name} " in sentence for name, sentence in zip("ac", said, strict=True)] == [True, True]


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")])
def test_times_of_the_day_are_the_texts_that_a_dataset_has_of_them(tmp_path: Path, kind: pa.DataType) -> None:
    file = written(tmp_path / "x.parquet", pa.table({"a": [1.0] * 2, "c": pa.array([1, 37_800], kind)}))
    kept = table_of(Ingest(tmp_path)(file)).column("c").to_pylist()
    assert [row["c"] for row in rows_of(file)] == kept


def test_a_file_without_a_header_is_read_by_the_names_that_its_dataset_has(tmp_path: Path) -> None:
    columns = [Column("column_1", "double", True), Column("column_2", "string", True)]
    file = written(tmp_path / "x.csv", b"1.5,a\n2.5,b\n3.5,c\n")
    assert rows_of(file, columns)[0] == {"column_1": 1.5, "column_2": "a"}


def test_one_column_and_names_that_are_numbers_are_a_header_if_the_model_takes_them(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path / "x.csv", b"a\n1\n2\n")) == [{"a": 1.0}, {"a": 2.0}]
    numbers = [Column("0", "double", True), Column("1", "double", True)]
    assert rows_of(written(tmp_path / "y.csv", b"0,1\n5,6\n"), numbers) == [{"0": 5.0, "1": 6.0}]


def test_rows_of_an_argument_are_checked_the_same() -> None:
    assert checked_rows([{"a": float("nan"), "b": {"c": [1, None]}}]).rows == [{"a": None, "b": {"c": [1, None]}}]
    with pytest.raises(Invalid) as caught:
        checked_rows([{"a": 1}, {"a": float("inf")}])
    assert caught.value.problems[0].pointer == "row 2, column a"
    assert rows_of_json('{"a": 1}').rows == [{"a": 1}]
    with pytest.raises(Invalid, match="two members"):
        rows_of_json('[{"a": 1, "a": 2}]')


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("x.csv", b'a,c\n1,x\n2,"y\nz"\n\n3,y\n4,y\n', "line 7"),
        ("x.ndjson", b'{"a": 1}\n\n{"a": 2}\n{"a": 3}\n{"a": 4}\n', "line 5"),
        ("x.parquet", pa.table({"a": [1.0, 2.0, 3.0, 4.0]}), "row 4"),
    ],
)
def test_what_a_server_says_of_a_request_is_told_of_the_file(
    tmp_path: Path, name: str, content: bytes | pa.Table, place: str
) -> None:
    *_, batch = RowFile(written(tmp_path / name, content), COLUMNS).batches(2)
    pointers = ["/inputs/1/a~1b", "/inputs/1", "/inputs/9/a", "/inputs", "/params/p"]
    error = Invalid("inputs_invalid", "", [Problem(pointer, "out_of_range", "") for pointer in pointers])
    batch.tell_places(error)
    found = [problem.pointer for problem in error.problems]
    assert found == [f"{place}, column a/b", place, "/inputs/9/a", "/inputs", "/params/p"]
    absent = Invalid("inputs_invalid", "", [Problem("/inputs/0/a", "column_missing", "")])
    batch.tell_places(absent)
    assert [problem.pointer for problem in absent.problems] == ["column a"]


def test_members_that_appear_late_become_columns_of_what_is_saved(tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    with ResultFile(target, list[str]().append) as out:
        out.write([{"a": 'say "x"', "b": 1}, {"a": "line\nbreak", "c": True}])
        out.write([{"d": None, "a": "y"}, {"e": [1], "c": 2}])
    assert list(csv.DictReader(target.read_text().splitlines(keepends=True))) == [
        dict(zip("abcde", cells, strict=True))
        for cells in (
            ('say "x"', "1", "", "", ""), ("line\nbreak", "", "true", "", ""), ("y", "", "", "", ""),
            ("", "", "2", "", "[1]"),
        )
    ]  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def test_what_an_earlier_attempt_saved_is_never_written_over(tmp_path: Path) -> None:
    target, told = tmp_path / "x.csv", list[str]()

    def attempt(ending: BaseException | None, *rows: dict[str, Any]) -> None:
        with ResultFile(target, told.append) as out:
            if rows:
                out.write(rows)
            if ending is not None:
                raise ending

    for expected in ("x.csv.part", "x.csv.2.part"):
        with pytest.raises(Invalid) as caught:
            attempt(Invalid("x", ""), {"prediction_id": expected})
        assert (tmp_path / expected).read_text() == f"prediction_id\n{expected}\n"
        assert expected in caught.value.__notes__[0]
    with pytest.raises(KeyboardInterrupt):
        attempt(KeyboardInterrupt(), {"prediction_id": "3"})
    assert told == [f"predictions made until then are in {tmp_path / 'x.csv.3.part'}"]
    with pytest.raises(Invalid):
        attempt(Invalid("file_empty", ""))
    attempt(None, {"prediction_id": "whole"})
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"x.csv", "x.csv.part", "x.csv.2.part", "x.csv.3.part"}
