"""Moments as people write them."""

from datetime import UTC, datetime

import pytest

from tidemill.cli.moments import parse_moment
from tidemill.kit.errors import Invalid

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


@pytest.mark.parametrize("text", ["", "ago", "soon", "2 hours ago", "-2h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="7d"):
        parse_moment(text, NOW)
