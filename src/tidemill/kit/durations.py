"""Durations as people write them: ``90``, ``90s``, ``2m``, ``1h30m``, ``7d``."""

import re

from tidemill.kit.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def parse_duration_seconds(text: str) -> float:
    """Seconds in ``text``; a bare number is seconds. Raises Invalid for anything else."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise Invalid("duration_invalid", "A duration is written like 90s, 2m or 1h30m.")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
