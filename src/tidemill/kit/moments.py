"""Moments as texts write them.

Offsets may lead out of the years that Python, SQL and people share, 1 to 9999; then there is no such moment.
"""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 10**6
_FINER = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")
_SHAPE = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-?W[0-9]{2}(?:-?[0-9])?)(?:[Tt ][0-9:.,+Zz -]*)?")
"""Python takes any character between day and time, such as in ``2024-02-29_12:00``; ISO 8601 does not."""


def moment_of_text(text: str) -> datetime | None:
    """The time that an ISO 8601 text writes: in UTC if it has a zone, else naive. None if it writes none.

    Nor does it if the moment lies outside the years 1 to 9999 in UTC.
    """
    try:
        moment = datetime.fromisoformat(text) if _SHAPE.fullmatch(text) else None
    except ValueError:
        return None
    return in_utc(moment) if moment is not None and moment.tzinfo is not None else moment


def in_utc(moment: datetime) -> datetime | None:
    """An aware moment in UTC; None if that is outside the years 1 to 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def is_finer(text: str) -> bool:
    """Whether a time that is written has digits beyond its microseconds, which Python would drop."""
    return _FINER.search(text) is not None


def moment_of_ticks(ticks: int, per_second: int) -> tuple[datetime | None, bool]:
    """The moment that is so many ticks after 1970, in UTC, and whether it has digits beyond its microseconds.

    These are dropped. None if it lies outside the years 1 to 9999.
    """
    microseconds, rest = divmod(abs(ticks) * _MICROSECONDS, per_second)
    try:
        return _EPOCH + timedelta(microseconds=microseconds if ticks >= 0 else -microseconds), rest != 0
    except OverflowError:
        return None, False
