"""Input against a signature, by MLflow's rules, without echoing a value."""

from datetime import datetime
from typing import Any

import pytest

from tidemill.kit.errors import Invalid, Malformed
from tidemill.kit.signatures import Column
from tidemill.model_server.tables import ColumnsTable, RecordsTable, SplitTable
from tidemill.model_server.transports.server import parsed_json
from tidemill.model_server.validation import MAX_PROBLEMS, validate
from tidemill.web.request_memory import RequestMemory

MANY = 2**40


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def problems(rows: Any, *columns: Column) -> set[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        validate(RecordsTable(rows, "/inputs"), columns)
    return {(problem.pointer, problem.code) for problem in caught.value.problems}


def column(type_name: str, *, required: bool = True) -> Column:
    return Column("x", type_name, required)


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("boolean", True), ("integer", -(2**31)), ("long", 2**63 - 1), ("float", 1), ("float", 0.1), ("double", 3),
        ("double", 2**53), ("string", ""), ("double", None), ("string", None), ("float", None),
        ("object", {"a": [2**64 - 1, None, "b"]}),
    ],
)  # fmt: skip
def test_values_of_the_type_and_harmless_widening_are_taken(type_name: str, value: Any) -> None:
    assert validate(RecordsTable([{"x": value, "other": object}], "/inputs"), [column(type_name)]) == {"x": [value]}


@pytest.mark.parametrize(
    ("type_name", "value", "code"),
    [
        ("boolean", 1, "type_mismatch"), ("integer", True, "type_mismatch"), ("integer", 2**31, "out_of_range"),
        ("long", 1.5, "type_mismatch"), ("long", 2**63, "out_of_range"), ("long", "1", "type_mismatch"),
        ("long", None, "value_null"), ("boolean", None, "value_null"), ("double", float("inf"), "out_of_range"),
        ("double", 2**53 + 1, "out_of_range"), ("double", 10**400, "out_of_range"), ("float", 1e39, "out_of_range"),
        ("double", "1.5", "type_mismatch"), ("string", 5, "type_mismatch"), ("datetime", "soon", "type_mismatch"),
        ("datetime", "9999-01-01", "type_mismatch"), ("binary", "%%", "type_mismatch"), ("string", [], "type_mismatch"),
        ("object", {"a": [2**64]}, "out_of_range"), ("object", deep(300), "out_of_range"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_its_place(type_name: str, value: Any, code: str) -> None:
    assert problems([{"x": value}], column(type_name)) == {("/inputs/0/x", code)}


@pytest.mark.parametrize("type_name", ["integer", "long"])
def test_a_number_without_a_fraction_is_an_integer_as_in_json_schema(type_name: str) -> None:
    read = validate(RecordsTable([{"x": -1722.0}, {"x": 3}], "/inputs"), [column(type_name)])["x"]
    assert list(read) == [-1722, 3]
    assert set(map(type, read)) == {int}
    assert problems([{"x": 1e300}, {"x": True}], column(type_name)) == {
        ("/inputs/0/x", "type_mismatch"), ("/inputs/1/x", "type_mismatch")
    }  # fmt: skip


def test_times_are_read_as_utc() -> None:
    rows = [{"x": "2026-03-01T12:00:00+02:00"}, {"x": "2026-03-01 10:00"}, {"x": None}]
    found = validate(RecordsTable(rows, "/inputs"), [column("datetime")])
    assert found == {"x": [datetime(2026, 3, 1, 10), datetime(2026, 3, 1, 10), None]}  # noqa: DTZ001


def test_optional_columns_may_be_absent_or_null_in_some_rows_or_all() -> None:
    optional = column("long", required=False)
    assert validate(RecordsTable([{"x": 1}, {}, {"x": None}], "/inputs"), [optional]) == {"x": [1, None, None]}
    assert validate(RecordsTable([{}, {}], "/inputs"), [optional]) == {"x": [None, None]}


def test_a_required_column_is_missed_once_if_no_row_has_it_and_per_row_otherwise() -> None:
    assert problems([{}, {}], column("string")) == {("/inputs/0/x", "column_missing")}
    rows = [{"x": 1}, {}, {"x": "one"}]
    assert problems(rows, column("long")) == {("/inputs/1/x", "value_missing"), ("/inputs/2/x", "type_mismatch")}


def test_all_faults_are_told_at_once_up_to_a_limit_and_no_value_is_echoed() -> None:
    rows = [{"x": "secret"} for _ in range(1000)]
    with pytest.raises(Invalid) as caught:
        validate(RecordsTable(rows, "/inputs"), [column("long")])
    assert len(caught.value.problems) == MAX_PROBLEMS
    assert "1000 places" in caught.value.detail
    assert "secret" not in repr(caught.value.problems) + caught.value.detail


def test_pointers_escape_names_and_follow_the_layout_of_the_table() -> None:
    odd = Column("a/b~c", "long", required=True)
    assert problems([{"a/b~c": "x"}], odd) == {("/inputs/0/a~1b~0c", "type_mismatch")}
    with pytest.raises(Invalid) as split:
        validate(SplitTable({"columns": ["y", "x"], "data": [[1, 2], [1, "x"]]}, "/dataframe_split"), [column("long")])
    assert split.value.problems[0].pointer == "/dataframe_split/data/1/1"
    with pytest.raises(Invalid) as columns:
        validate(ColumnsTable({"x": [1, "x"]}, "/inputs"), [column("long")])
    assert columns.value.problems[0].pointer == "/inputs/x/1"


@pytest.mark.parametrize(
    ("table", "body"),
    [
        (RecordsTable, {"x": 1}), (RecordsTable, [1]), (SplitTable, {"columns": ["x"]}),
        (SplitTable, {"columns": ["x", "x"], "data": []}), (SplitTable, {"columns": ["x"], "data": [[1, 2]]}),
        (ColumnsTable, {"x": [1], "y": [1, 2]}), (ColumnsTable, {"x": [1], "y": 2}), (ColumnsTable, {}),
    ],
)  # fmt: skip
def test_tables_of_the_wrong_shape_are_refused(table: Any, body: Any) -> None:
    with pytest.raises(Invalid):
        table(body, "/inputs")


@pytest.mark.parametrize("written", [str(2**64 + 1), str(-(2**63) - 1)])
def test_integers_of_a_request_are_exact_and_none_becomes_a_float_on_its_way(written: str) -> None:
    memory = RequestMemory(2**26)
    found = parsed_json(f'[{{"x": {written}}}]'.encode(), memory.share())
    assert found == [{"x": int(written)}]
    for type_name in ("long", "double", "object"):
        assert problems(found, column(type_name)) == {("/inputs/0/x", "out_of_range")}


def test_a_long_integer_within_more_brackets_than_can_be_read_is_refused() -> None:
    with pytest.raises(Malformed):
        parsed_json(b"[" * 1000 + b"1" * 30 + b"]" * 1000, RequestMemory(2**26).share())
