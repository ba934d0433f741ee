"""What a dataset's contract allows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.integration.ingest.ingesting import Ingest, table_of, types_of


def contract(**types: str) -> list[dict[str, Any]]:
    """A trailing question mark allows missing values."""
    return [{"name": name, "type": kind.rstrip("?"), "nullable": kind.endswith("?")} for name, kind in types.items()]


def test_integers_fit_a_contract_of_floats_and_digits_one_of_texts(ingest: Ingest) -> None:
    result = ingest("b,a\n1,007\n2,8\n", contract(a="string", b="float"))
    assert types_of(result) == {"a": "string", "b": "float"}
    assert table_of(result).to_pylist() == [{"a": "007", "b": 1.0}, {"a": "8", "b": 2.0}]


def test_every_break_is_told_by_column_and_row(ingest: Ingest) -> None:
    text = "a,b,c,x\n1,0.5,2024-01-01,1\n1.5,inf,2024-13-01,1\n,007,2024-01-01 10:00,1\n"
    error = ingest.refused(text, contract=contract(a="integer", b="float", c="date", d="string"))
    assert (error.code, {problem.pointer for problem in error.problems}) == (
        "contract_broken",
        {
            "column d", "column x", "row 3, column a", "row 3, column b", "row 3, column c",
            "row 4, column a", "row 4, column b", "row 4, column c",
        },
    )  # fmt: skip


def test_every_offending_column_is_named_even_when_one_has_thousands(ingest: Ingest) -> None:
    text = "a,b\n" + "x,1\n" * 50_000 + "1,y\n"
    error = ingest.refused(text, contract=contract(a="integer", b="integer"))
    assert len(error.problems) == 100
    assert "row 50002, column b" in {problem.pointer for problem in error.problems}
    assert "50001 values in 2 columns" in error.detail


def test_a_type_declared_otherwise_than_the_contract_has_it_is_refused(ingest: Ingest) -> None:
    error = ingest.refused(
        "a,b\n1,2\n", contract=contract(a="string", b="integer"), types={"a": "float", "b": "integer"}
    )
    assert (error.code, [problem.pointer for problem in error.problems]) == ("contract_broken", ["column a"])


def test_a_column_that_a_contract_keeps_as_text_is_told_what_it_seems_to_be(ingest: Ingest) -> None:
    result = ingest('a;b\n"1,5";x\n"2,5";y\n', contract=contract(a="string", b="string"), decimal=",")
    assert "(new contract)" in result["warnings"][0]


def test_missing_values_need_a_nullable_column(ingest: Ingest) -> None:
    assert ingest("a,b\n1,\n2,x\n", contract(a="integer", b="string?"))["row_count"] == 2
    assert ingest.places("a,b\n1,\n2,x\n", contract=contract(a="integer", b="string")) == ["row 2, column b"]


def test_a_column_without_any_value_binds_to_no_type(ingest: Ingest) -> None:
    unbound = [{"name": "a", "type": "string", "nullable": True, "all_missing": True}, *contract(b="integer")]
    assert types_of(ingest("a,b\n1.5,1\n", unbound)) == {"a": "float", "b": "integer"}


def test_formats_with_types_are_held_to_them(ingest: Ingest, tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["1", "2"], "c": [0.5, 1.0]}), file)
    result = ingest(file, contract(a="float", b="string", c="float"))
    assert types_of(result) == {"a": "float", "b": "string", "c": "float"}
    places = ingest.places(file, contract=contract(a="integer", b="integer", c="integer"))
    assert places == ["column b", "column c"]


def test_more_offending_columns_than_places_are_all_named(ingest: Ingest) -> None:
    names = [f"c{index}" for index in range(150)]
    text = ",".join(names) + "\n" + ",".join("x" for _ in names) + "\n"
    places = ingest.places(text, contract=contract(**dict.fromkeys(names, "integer")))
    assert set(places) == {f"row 2, column {name}" for name in names}
    missing = ingest.places("a,b\n1,2\n", contract=contract(**dict.fromkeys(names, "integer")))
    assert set(missing) == {f"column {name}" for name in ("a", "b", *names)}
