"""Truths and class labels: JSON scalars, and what a text from a file means as one of them."""

import math
import sys
from collections.abc import Sequence

Label = bool | int | float | str
_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


def label_key(label: Label) -> tuple[str, Label]:
    """Equal for equal JSON values: 1 and 1.0 are the same number, but true, 1 and "1" are three values."""
    if isinstance(label, bool):
        return "boolean", label
    return ("text", label) if isinstance(label, str) else ("number", label)


def number_of_text(text: str) -> float | int | None:
    """The finite number that ``text`` writes; None if it writes none. Integers stay exact."""
    text = text.strip()
    if "_" in text or not text.isascii():
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def label_of_text(text: str, classes: Sequence[Label]) -> Label | None:
    """The class that ``text`` writes, as files without types do; None if it is none of ``classes``.

    The very text goes before the number or boolean it writes, and these before the text without spaces around it.
    """
    bare = text.strip()
    meanings: list[Label | None] = [text, number_of_text(bare), _BOOLEANS.get(bare.lower()), bare]
    by_key = {label_key(label): label for label in classes}
    keys = (label_key(meaning) for meaning in meanings if meaning is not None)
    return next((by_key[key] for key in keys if key in by_key), None)


def is_finite_number(label: object) -> bool:
    """Whether it is a number, and one that a float can hold at all."""
    if isinstance(label, bool) or not isinstance(label, (int, float)):
        return False
    return abs(label) <= sys.float_info.max  # neither infinity nor NaN, nor an integer beyond
