"""Types are decided on all rows, and no conversion loses anything silently."""

import datetime as dt

import pytest

from tests.integration.ingest.ingesting import Ingest, table_of, types_of


def column(values: list[str]) -> str:
    return "id,x\n" + "".join(f"r{index},{value}\n" for index, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", "-3"], "integer"),
        (["1", "2.5", "3"], "float"),
        (["1e3", ".5", "2."], "float"),
        (["true", "FALSE", "True"], "boolean"),
        (["2024-01-01", "2024-02-29"], "date"),
        (["2024-01-01 10:00", "2024-01-01T10:00:30.5"], "datetime"),
        (["2024-01-01", "2024-01-01T10:00:30"], "datetime"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00+02:00"], "datetime"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], "string"),
        (["2024-02-30", "2024-01-01"], "string"),
        (["007", "008", "9"], "string"),
        (["-01", "2", "3"], "string"),
        (["0.5", "01.5", "2"], "string"),
        (["+491701234567", "+491701234568"], "string"),
        (["9223372036854775807", "1"], "integer"),
        (["9223372036854775808", "1"], "string"),
        (["12345678901234567", "0.5"], "string"),
        (["0x1F", "10", "11x"], "string"),
        (["1_000", "2_000"], "string"),
        (["yes", "no"], "string"),
        (["a", "1", "b", "2"], "string"),
        (["1", "NA", "nan", "null", "N/A", ""], "integer"),
        ([" 1", "2 ", " NA "], "integer"),
        (["", "", ""], "string"),
        (["10,5".replace(",", "."), "0", "-0"], "float"),
    ],
)
def test_a_columns_type_holds_every_value_without_loss(ingest: Ingest, values: list[str], expected: str) -> None:
    assert types_of(ingest(column(values)))["x"] == expected


@pytest.mark.parametrize("late", ["0.5", "007", "text", "9223372036854775808", "2024-01-01"])
def test_a_type_guessed_from_the_beginning_is_corrected_by_what_comes_later(ingest: Ingest, late: str) -> None:
    rows = [str(number) for number in range(120_000)] + [late] * 12_000
    result = ingest(column(rows))
    assert types_of(result)["x"] == ("float" if late == "0.5" else "string")
    values = table_of(result).column("x").to_pylist()
    assert (len(values), str(values[-1]), str(values[7])) == (132_000, late, "7.0" if late == "0.5" else "7")


def test_text_first_and_numbers_later_is_decided_on_all_rows(ingest: Ingest) -> None:
    rows = ["text"] * 100 + [str(number) for number in range(150_000)]
    error = ingest.refused(column(rows))
    assert (error.code, len(error.problems), error.problems[0].pointer) == ("mixed_types", 100, "row 2, column x")


def test_a_column_that_is_empty_at_first_gets_the_type_of_its_later_values(ingest: Ingest) -> None:
    result = ingest(column([""] * 150_000 + ["true", "false"]))
    assert types_of(result)["x"] == "boolean"
    assert result["columns"][1]["nullable"]
    assert table_of(result).column("x").to_pylist()[-2:] == [True, False]


def test_stray_text_in_a_column_of_numbers_is_refused_with_its_rows_and_a_hint(ingest: Ingest) -> None:
    rows = [str(number) for number in range(100)]
    rows[40], rows[70] = "forty", "seventy"
    error = ingest.refused(column(rows))
    assert (error.code, [problem.pointer for problem in error.problems]) == (
        "mixed_types",
        ["row 42, column x", "row 72, column x"],
    )
    assert "--type COLUMN=string" in error.detail
    assert "forty" not in str(error.problems)
    assert types_of(ingest(column(rows), types={"x": "string"}))["x"] == "string"
    result = ingest(column(rows), missing=["forty", "seventy"])
    assert (types_of(result)["x"], table_of(result).column("x").null_count) == ("integer", 2)


def test_infinite_numbers_are_refused_with_their_rows(ingest: Ingest) -> None:
    error = ingest.refused(column(["1.5", "inf", "-Infinity", "2", "1e999"]))
    assert error.code == "infinite_numbers"
    assert [problem.pointer for problem in error.problems] == [f"row {row}, column x" for row in (3, 4, 6)]


def test_values_are_converted_exactly(ingest: Ingest) -> None:
    result = ingest('n,t,d,z\n-5," a ",2024-02-29,2024-01-01T00:30:00+01:00\n7,"",,\n')
    assert table_of(result).to_pylist() == [
        {"n": -5, "t": " a ", "d": dt.date(2024, 2, 29), "z": dt.datetime(2023, 12, 31, 23, 30)},  # noqa: DTZ001
        {"n": 7, "t": None, "d": None, "z": None},
    ]
    assert any("UTC" in warning for warning in result["warnings"])


def test_quoted_tokens_are_missing_among_numbers_and_values_among_texts(ingest: Ingest) -> None:
    result = ingest('code,n,t\n"NA","NA","x"\n"DE","1",NA\n')
    assert table_of(result).to_pylist() == [{"code": "NA", "n": None, "t": "x"}, {"code": "DE", "n": 1, "t": None}]
    result = ingest("code,n\nNA,1\nDE,2\n", default_missing=False)
    assert table_of(result).column("code").to_pylist() == ["NA", "DE"]


def test_declared_types_win_and_what_does_not_fit_is_refused(ingest: Ingest) -> None:
    text = "zip,day,amount\n01,31.12.2023,1\n02,01.01.2024,2\n"
    result = ingest(text, types={"zip": "integer", "day": "date:%d.%m.%Y", "amount": "float"})
    assert table_of(result).to_pylist()[0] == {"zip": 1, "day": dt.date(2023, 12, 31), "amount": 1.0}
    error = ingest.refused(text, types={"day": "date:%m.%d.%Y", "zip": "boolean"})
    assert [problem.pointer for problem in error.problems] == [
        "row 2, column day", "row 2, column zip", "row 3, column zip",
    ]  # fmt: skip
    assert ingest.refused(text, types={"nope": "string"}).code == "column_unknown"
    assert ingest.refused(text, types={"zip": "text"}).code == "type_unknown"


def test_decimal_commas_are_read_when_declared(ingest: Ingest) -> None:
    text = "a;b;c\n1,5;2;1.000,5\n-0,25;3;2\n"
    assert types_of(ingest(text))["a"] == "string"
    result = ingest(text, decimal=",")
    assert (types_of(result), table_of(result).column("a").to_pylist()) == (
        {"a": "float", "b": "integer", "c": "string"},
        [1.5, -0.25],
    )


def test_a_column_that_turns_out_otherwise_is_read_again_beside_declared_ones(ingest: Ingest) -> None:
    rows = "a,b\n" + "".join(f"1,{number}\n" for number in range(120_000)) + "1,text\n" * 12_000
    free = {"name": "b", "type": "string", "nullable": True, "all_missing": True}
    bound = [{"name": "a", "type": "integer", "nullable": False}, free]
    for result in (ingest(rows, types={"a": "integer"}), ingest(rows, bound)):
        assert types_of(result) == {"a": "integer", "b": "string"}
        assert table_of(result).num_rows == 132_000


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("007", ""),
        ("-0009223372036854775808", ""),
        ("007.5", "type_mismatch"),
        ("00.", "type_mismatch"),
        ("0009223372036854775808", "integer_too_large"),
        ("+99999999999999999999", "integer_too_large"),
    ],
)
def test_leading_zeros_of_a_declared_integer_go_and_nothing_else(ingest: Ingest, value: str, code: str) -> None:
    text, declared = column(["5", value]), {"x": "integer"}
    if code:
        found = ingest.refused(text, types=declared).problems
        assert [(problem.pointer, problem.code) for problem in found] == [("row 3, column x", code)]
    else:
        assert table_of(ingest(text, types=declared)).column("x").to_pylist() == [5, int(value)]


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        ("0.12345678901234567890123", True),
        ("-1234567890.123456789e-05", True),
        ("123456789012345678.5", True),
        ("9007199254740993", True),
        ("1e-400", True),
        ("9007199254740992", False),
        ("100000000000000000000", False),
        ("0.30000000000000004", False),
        ("-2.2250738585072014e-308", False),
        ("1.5000000000000000000000", False),
        ("0.0000000000000000000001", False),
        ("0e-400", False),
    ],
)
def test_digits_that_a_number_loses_are_told(ingest: Ingest, value: str, rounded: bool) -> None:
    for text in (column(["5.5", value]), column(["5.5", f" {value}"]), f'[{{"a": 1, "x": {value}}}]'):
        result = ingest(text, types={"x": "float"})
        assert table_of(result).column("x").to_pylist()[-1] == float(value)
        assert any("rounded" in warning for warning in result["warnings"]) is rounded


def test_hexadecimal_numbers_are_no_numbers_wherever_they_stand(ingest: Ingest) -> None:
    rows = [str(number) for number in range(120_000)] + ["0x10"]
    assert ingest.places(column(rows)) == ["row 120002, column x"]


def test_a_day_that_is_in_no_calendar_is_refused_in_any_format(ingest: Ingest) -> None:
    assert ingest.places(column(["31.02.2023", "03.03.2023"]), types={"x": "date:%d.%m.%Y"}) == ["row 2, column x"]
    assert types_of(ingest(column(["0000-01-01", "2023-01-01"])))["x"] == "string"


def test_times_with_and_without_a_zone_are_never_one_column(ingest: Ingest) -> None:
    mixed = column(["2024-01-01 10:00", "2024-01-01 10:00+02:00", "2024-01-02 10:00"])
    assert ingest.places(mixed, types={"x": "datetime"}) == ["row 3, column x"]
    zoned, plain = column(["2024-01-01 10:00Z"]), column(["2024-01-01 10:00"])
    assert [ingest(text)["columns"][1]["zoned"] for text in (zoned, plain)] == [True, False]
    for text, other in ((zoned, plain), (plain, zoned)):
        error = ingest.refused(other, contract=ingest(text)["columns"])
        assert (error.code, error.problems[0].code) == ("contract_broken", "zone_mismatch")


def test_texts_that_would_be_missing_numbers_are_texts(ingest: Ingest) -> None:
    result = ingest(column([" NA", " NA"]))
    assert table_of(result).column("x").to_pylist() == [" NA", " NA"]
    assert not any(item["nullable"] or item["all_missing"] for item in result["columns"])


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (['"1,5"', '"2,25"'], "--decimal ,"),
        (['"1,234,567"', '"5,678"'], "thousands separators"),
        (["31.12.2023", "01.01.2024"], "date:%d.%m.%Y"),
        ([*map(str, range(50)), "07"], "leading zeros"),
        (["1", "12345678901234567890"], "64 bits"),
        (["12345678901234567890"] * 2, "64 bits"),
        ([*map(str, range(50)), str(2**53 + 1), "1.5"], "no float holds"),
        (["true"] * 40 + ["maybe"], "true and false"),
        (['"1.015,37"', '"12,5"', "7"], "thousands separators"),
        (["true", "1", "true", "0"], "beside true and false"),
        (['"1,5"', "7", '"2,25"'], "--decimal ,"),
        (['"1,234"', "7"], "thousands separators or decimal commas"),
        (["12\u00a0500", "1\u202f300.5", "7"], "thousands separators"),
        (['"12,34,567"'], "thousands separators"),
        (["12%", "5.5 %", "7"], "percentages"),
        (["$12.50", "-\u20ac 7", "12 EUR"], "currency"),
        (["(5)", "7", "8-", "\u22129"], "-5"),
        (["\uff11\uff12", "\u0663"], "another script"),
        (["31-Jan-2024", "1 February 2024"], "--type COLUMN=date:"),
        (["01/31/2024 10:00", "02/01/2024 1:30 PM"], "COLUMN=datetime:"),
        (['"2024-02-29T12:00:30,5"', "2024-02-29T12:00:30.123456789Z"], "six decimals"),
        (["10:30", "27:15:00"], "times of the day or durations"),
        (["2024-02-29 12:00", "2024-02-29 12:00Z"], "have a zone and others none"),
    ],
)
def test_text_that_seems_to_be_more_is_told_with_what_to_do(ingest: Ingest, values: list[str], word: str) -> None:
    result = ingest(column(values))
    assert types_of(result)["x"] == "string"
    assert word in " ".join(result["warnings"])


@pytest.mark.parametrize(
    "values", [["ABC 123", "XYZ 7"], ["1.2.3", "10.0.1"], ["a-1", "b-2"], ["A%", "B"], ["5 km", "7"]]
)
def test_text_that_is_just_text_is_not_told(ingest: Ingest, values: list[str]) -> None:
    assert ingest(column([*values, "text", "other"] * 3))["warnings"] == []


def test_names_that_differ_in_case_have_figures_of_their_own(ingest: Ingest) -> None:
    columns = ingest("Name,name\nx,1\ny,2\n")["profile"]["columns"]
    assert [figures["type"] for figures in columns.values()] == ["string", "integer"]
    assert columns["name"]["max"] == 2
