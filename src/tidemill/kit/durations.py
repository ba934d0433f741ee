"""Durations as people write them: ``90``, ``90s``, ``2m``, ``1h30m``, ``7d``."""

import re

from tidemill.kit.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_DAYS = 36_500
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def parse_duration_seconds(text: str) -> float:
    """Seconds in ``text``, at most 100 years of them; a bare number is seconds. Raises Invalid for anything else."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif _WHOLE.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise Invalid("duration_invalid", "A duration is written like 90s, 2m or 1h30m.")
    if seconds > LONGEST_DAYS * _UNITS["d"]:
        raise Invalid("duration_too_long", f"A duration is at most {LONGEST_DAYS}d long.")
    return seconds
