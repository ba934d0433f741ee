"""Digits that numbers written as texts have, and the floats that they become have not."""

import re
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.training.ingest.text_bytes import raw

_SURELY_KEPT = 17
"""Significant digits that tell any two floats apart; programs write floats with as many, and nobody means more."""
_EXACT_IN_FLOAT = 2.0**53
_NOT_ZERO = r"^[+-]?[0.]*[1-9]"
_LONG = rf"{_NOT_ZERO}(\.?\d){{{_SURELY_KEPT - 1}}}(\.?\d)*\.?[1-9]"
"""Of what has a point or an exponent: zeros at its end are no digits."""


def count_rounded(texts: Any, floats: Any) -> int:
    """How many of ``texts`` lost digits as ``floats``: decimals of more than 17 digits, integers that floats skip, and
    numbers that became zero.
    """
    values = np.abs(floats.fill_null(1.0).to_numpy(zero_copy_only=False))
    starts, lengths, data = raw(texts)
    large = (values >= _EXACT_IN_FLOAT) & (lengths > 1)
    long = np.flatnonzero((lengths > _SURELY_KEPT) & ~large & (values > 0))
    long = long[_most_digits(starts[long], lengths[long], data) > _SURELY_KEPT]
    return (
        _count(texts.take(np.flatnonzero((values == 0) & (lengths > 1))), _NOT_ZERO)
        + _count(texts.take(long), _LONG)
        + sum(map(_is_rounded, texts.take(np.flatnonzero(large)).to_pylist()))
    )


def _most_digits(starts: NDArray[np.int32], lengths: NDArray[np.int32], data: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of texts of more than 17 characters: without sign, point, a zero before it, and an exponent of two digits."""
    signed = (data[starts] == ord("-")) | (data[starts] == ord("+"))
    below_one = data[np.minimum(starts + signed, data.size - 1)] == ord("0")
    ends = starts + lengths
    exponent = (data[ends - 4] | 32) == ord("e")
    most: NDArray[np.int32] = lengths - signed - below_one - 1 - 4 * exponent
    return most


def _count(texts: Any, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0


def _is_rounded(text: str) -> bool:
    """Of a number beyond 2**53."""
    digits = text.lstrip("+-0")
    return int(float(digits)) != int(digits) if digits.isdigit() else re.search(_LONG, text) is not None
