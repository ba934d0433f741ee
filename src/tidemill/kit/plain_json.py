"""JSON values that every part can write, keep and read again: PostgreSQL, the wire, and whoever parses it."""

import math
import re
from collections.abc import Iterable
from typing import Any

_DEEPEST = 32
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_NONE = object()
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def is_plain(value: Any, levels: int = _DEEPEST) -> bool:
    """False for NaN and infinity, integers beyond 64 bits, texts with NUL or half a surrogate pair, names that are no
    texts, deep nesting, and all that is not JSON."""
    if isinstance(value, (list, dict)):
        return levels > 0 and all(is_plain(inner, levels - 1) for inner in _within(value))
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is None
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and _LEAST <= value <= _GREATEST)


def _within(value: list[Any] | dict[Any, Any]) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    return (part if isinstance(name, str) else _NONE for name, inner in value.items() for part in (name, inner))
