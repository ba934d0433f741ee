"""Values of files and arguments as JSON can carry them."""

import base64
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

NO_JSON = object()
"""What JSON cannot carry: infinite numbers, bytes where none are wanted, durations, half a pair of surrogates."""


def json_value(value: Any, *, takes_bytes: bool = False) -> Any:
    """NaN becomes null, decimals become numbers, times ISO 8601, bytes base64 if ``takes_bytes``; else `NO_JSON`."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if _is_unicode(value) else NO_JSON
    if isinstance(value, (float, Decimal)):
        return _number(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode() if takes_bytes else NO_JSON
    return _nested(value)


def _number(value: float | Decimal) -> Any:
    if math.isnan(value):
        return None
    whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    number = int(value) if whole and value.as_tuple().exponent >= 0 else float(value)  # type: ignore[union-attr,operator]
    return number if math.isfinite(number) else NO_JSON


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        found = {name: json_value(item) for name, item in value.items()}
        return NO_JSON if NO_JSON in found.values() or not all(map(_is_unicode, found)) else found
    if isinstance(value, list):
        items = [json_value(item) for item in value]
        return NO_JSON if any(item is NO_JSON for item in items) else items
    return NO_JSON


def _is_unicode(text: Any) -> bool:
    try:
        return isinstance(text, str) and text.encode() is not None
    except UnicodeEncodeError:
        return False
