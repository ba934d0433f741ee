"""Moments as people write them on the command line: ``7d`` or ``7d ago``, ``2026-01-31``, ``2026-01-31T12:00:00Z``."""

from datetime import UTC, datetime, timedelta

from tidemill.kit.durations import parse_duration_seconds
from tidemill.kit.errors import Invalid
from tidemill.kit.moments import in_utc


def parse_moment(text: str, now: datetime) -> datetime:
    """A duration counts back from ``now``; a day or time without a zone is UTC. Raises Invalid for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(seconds=_seconds(text))
    found = in_utc(moment) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if found is None:
        raise Invalid("moment_out_of_range", "A moment lies within the years 1 to 9999, in UTC.")
    return found


def _seconds(text: str) -> float:
    try:
        return parse_duration_seconds(text.strip().lower().removesuffix("ago"))
    except Invalid as error:
        if error.code == "duration_too_long":
            raise
        raise Invalid("moment_invalid", "A moment is written like 7d, 2026-01-31 or 2026-01-31T12:00:00Z.") from None
