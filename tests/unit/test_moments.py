"""Moments as people write them."""

from datetime import UTC, datetime

import pytest

from tidemill.cli.moments import parse_moment
from tidemill.kit.errors import Invalid
from tidemill.kit.exit_codes import exit_code_of
from tidemill.kit.labels import is_finite_number
from tidemill.kit.moments import moment_of_text

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2h ago", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("1d12h Ago", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31 12:00:00.5+02:00", datetime(2026, 1, 31, 10, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:00:00-05:00", "999999d", "9" * 400])
def test_a_moment_that_no_calendar_has_is_refused_with_the_limit(text: str) -> None:
    with pytest.raises(Invalid, match=r"years 1 to 9999|at most 36500d") as caught:
        parse_moment(text, NOW)
    assert exit_code_of(caught.value) == 2


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("9999-12-31T23:00:00-05:00", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("0000-01-01", None),
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_offset_that_leaves_the_calendar_writes_no_moment(text: str, moment: datetime | None) -> None:
    assert moment_of_text(text) == moment


@pytest.mark.parametrize(
    ("text", "is_moment"),
    [
        ("2026-01-31T12:00", True), ("2026-01-31 12:00:30.5+01:00", True), ("20260131T120000Z", True),
        ("2026-W05-6", True), ("2026-01-31_12:00", False), ("2026-01-31x12:00", False), ("20260131-1200", False),
        ("2026-01-31\n12:00", False), ("٢٠٢٦-01-31", False),
    ],
)  # fmt: skip
def test_a_day_and_a_time_are_told_apart_by_what_iso_8601_has_between_them(text: str, is_moment: bool) -> None:
    assert (moment_of_text(text) is not None) == is_moment


def test_a_truth_beyond_what_floats_hold_is_no_finite_number() -> None:
    assert [is_finite_number(value) for value in (10**400, 10**300, float("inf"), True)] == [False, True, False, False]


@pytest.mark.parametrize("text", ["", "ago", "soon", "2 hours ago", "-2h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="7d"):
        parse_moment(text, NOW)
