"""Sizes in bytes as people write them: ``512MiB``, ``2GB``, ``1048576``."""

import re

from tidemill.kit.errors import Invalid

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?")


def parse_size_bytes(text: str) -> int:
    """Bytes in ``text``; a bare number is bytes. Raises Invalid for anything else."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise Invalid("size_invalid", "A size is written like 512MiB, 2GB or 1048576.")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def format_size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
