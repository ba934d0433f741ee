"""Moments as texts write them.

Offsets may lead out of the years that Python, SQL and people share, 1 to 9999; then there is no such moment.
"""

from datetime import UTC, datetime


def moment_of_text(text: str) -> datetime | None:
    """The time that an ISO 8601 text writes: in UTC if it has a zone, else naive. None if it writes none.

    Nor does it if the moment lies outside the years 1 to 9999 in UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return in_utc(moment) if moment.tzinfo is not None else moment


def in_utc(moment: datetime) -> datetime | None:
    """An aware moment in UTC; None if that is outside the years 1 to 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
