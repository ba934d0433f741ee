"""Aware UTC time."""

from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    return datetime.now(UTC)


def earlier(moment: datetime, span: timedelta) -> datetime:
    """``moment`` less ``span``; the first moment there is where that would lie before the year 1."""
    try:
        return moment - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def later(moment: datetime, span: timedelta) -> datetime:
    """``moment`` and ``span``; the last moment there is where that would lie behind the year 9999."""
    try:
        return moment + span
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
