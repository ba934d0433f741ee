"""What counts as a whole number."""

from typing import Any

_EXACT = 2**53
"""Beyond, a float does not tell one integer from the next."""


def whole_number(value: Any) -> Any:
    """A float without a fraction as the integer that it is, as JSON Schema counts; anything else as it is."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT
    return int(value) if is_whole else value
