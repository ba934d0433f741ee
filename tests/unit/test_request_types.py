"""What JSON bodies and query strings may hold."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tidemill.kit.clock import earlier, later
from tidemill.kit.errors import Invalid
from tidemill.kit.ids import first_of
from tidemill.schemas.base import Moment, QueryParameters, RequestBody
from tidemill.schemas.page import PageQuery, decode_token, encode_token


class Body(RequestBody):
    whole: int = 0
    number: float = 0.0
    switch: bool = False
    text: str = ""
    texts: list[str] = []  # noqa: RUF012 - pydantic copies it
    by_name: dict[str, Any] = {}  # noqa: RUF012
    moment: Moment | None = None


class Query(QueryParameters):
    whole: int = 0
    switch: bool = False
    moment: Moment | None = None


def _deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("whole", True), ("whole", "1"), ("whole", 1.5), ("number", True), ("number", "1"), ("number", float("inf")),
        ("number", float("nan")), ("switch", 1), ("switch", "true"), ("text", 1), ("text", "a\x00"),
        ("text", "\ud800"), ("texts", ["a", "\x00"]), ("by_name", {"a": ["\x00"]}), ("by_name", {"\x00": 1}),
        ("text", _deep(5000)), ("moment", 5), ("moment", 5.0), ("moment", "5"), ("moment", True),
        ("moment", "2026-01-31"), ("moment", "2026-01-31T12:00:00"), ("moment", "0001-01-01T00:00:00+10:00"),
        ("moment", "9999-12-31T23:59:59-10:00"), ("moment", "10000-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_body_holds_the_types_of_json_and_nothing_near_them(member: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate({member: value})


@pytest.mark.parametrize(
    ("member", "value", "read"),
    [
        ("number", 1, 1.0),
        ("whole", 1.0, 1),
        ("moment", "2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("moment", "9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("moment", datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
        ("by_name", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_what_a_body_may_hold_is_read(member: str, value: Any, read: Any) -> None:
    assert getattr(Body.model_validate({member: value}), member) == read


def test_a_query_is_text_and_read_as_its_types() -> None:
    query = Query.model_validate({"whole": "5", "switch": "true", "moment": "2026-01-31T12:00:00Z"})
    assert (query.whole, query.switch, query.moment) == (5, True, datetime(2026, 1, 31, 12, tzinfo=UTC))


@pytest.mark.parametrize("moment", ["5", "2026-01-31T12:00:00", "0001-01-01T00:00:00+10:00"])
def test_a_query_names_no_moment_by_a_number_or_outside_the_years(moment: str) -> None:
    with pytest.raises(ValidationError):
        Query.model_validate({"moment": moment})


@pytest.mark.parametrize("text", ["1_0", " 1", "1\n", "+1", "01", "\u0663", "1e1", "0x1", "", "true", "1" * 5000])
def test_a_query_writes_whole_numbers_in_digits_alone(text: str) -> None:
    with pytest.raises(ValidationError):
        Query.model_validate({"whole": text})


def test_a_span_before_the_first_moment_ends_at_it() -> None:
    first = datetime.min.replace(tzinfo=UTC)
    assert earlier(first, timedelta(days=1)) == first
    assert earlier(first + timedelta(days=3), timedelta(days=1)) == first + timedelta(days=2)


def test_a_span_behind_the_last_moment_ends_at_it() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert later(last, timedelta(minutes=10)) == last
    assert later(last - timedelta(days=3), timedelta(days=1)) == last - timedelta(days=2)


def test_ids_are_looked_for_from_the_first_one_there_can_be() -> None:
    assert first_of("prd", datetime.min.replace(tzinfo=UTC)) == "prd_" + "0" * 32
    assert len(first_of("prd", datetime.max.replace(tzinfo=UTC))) == len("prd_") + 32


@pytest.mark.parametrize(
    "position",
    [[True], ["\ud800"], ["a\udfff"], [float("inf")], [float("nan")], [2**63], [-(2**63) - 1], [None], [["x"]], [{}],
     _deep(400)],
)  # fmt: skip
def test_a_page_token_that_names_no_position_is_refused(position: list[Any]) -> None:
    with pytest.raises(Invalid) as caught:
        decode_token(encode_token(position))
    assert caught.value.code == "page_token_invalid"


@pytest.mark.parametrize("position", [["x", 1], ["x"], [1.5], [], [True]])
def test_a_position_of_another_list_is_refused(position: list[Any]) -> None:
    with pytest.raises(Invalid):
        PageQuery(page_token=encode_token(position)).after_number()
