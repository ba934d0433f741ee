"""A model's signature: which columns it takes, and what a text from a file means in one of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.kit.missing import MISSING_TEXTS
from tidemill.kit.moments import is_finer, moment_of_text

_INT_BITS = {"integer": 31, "long": 63}
FLOAT_MAX = 3.4028234663852886e38
"""Largest number of 32 bits."""
_FLOAT_MAX = {"float": FLOAT_MAX, "double": math.inf}
_BOOLEANS = {"true": True, "false": False}
_TYPED = frozenset({*_INT_BITS, *_FLOAT_MAX, "boolean", "datetime"})
_NEVER_NULL = frozenset({"boolean", "integer", "long"})
INVALID = object()
"""What a text is that writes no value of its column's type."""


@dataclass(frozen=True, slots=True)
class Column:
    """``type`` is MLflow's: boolean, integer, long, float, double, string, binary, datetime, or a nested one."""

    name: str
    type: str
    required: bool

    @property
    def nullable(self) -> bool:
        """Types without a value for "unknown" take null only when the column is optional."""
        return not self.required or self.type not in _NEVER_NULL


def columns_of(signature: Mapping[str, Any]) -> tuple[Column, ...]:
    """The input columns of MLflow's signature as JSON."""
    return tuple(
        Column(str(column["name"]), str(column["type"]), bool(column.get("required", True)))
        for column in signature.get("inputs") or []
    )


@dataclass(frozen=True, slots=True)
class Param:
    """``type`` as of a `Column`; ``is_list``: it takes a list of such values."""

    name: str
    type: str
    is_list: bool


def params_of(signature: Mapping[str, Any]) -> dict[str, Param]:
    """The parameters of MLflow's signature as JSON, by name."""
    found = [
        Param(str(param["name"]), str(param["type"]), param.get("shape") is not None)
        for param in signature.get("params") or []
    ]
    return {param.name: param for param in found}


def integer_fits(value: int, type_name: str) -> bool:
    limit = 1 << _INT_BITS[type_name]
    return -limit <= value < limit


def number_fits(value: float, type_name: str) -> bool:
    """False for infinity, for NaN, for what overflows a 32-bit float, and for integers that a double cannot hold."""
    if isinstance(value, int) and abs(value) > 1 << 53:
        try:
            if int(float(value)) != value:
                return False
        except OverflowError:
            return False
    return math.isfinite(value) and abs(value) <= _FLOAT_MAX[type_name]


def moment_of(text: str) -> datetime | None:
    """The moment that an ISO 8601 text writes, in UTC without a zone, as models know times; None if it writes none.

    Nor does it if it is finer than microseconds: datasets take such a text for no time either.
    """
    moment = None if is_finer(text) else moment_of_text(text)
    return None if moment is None else moment.replace(tzinfo=None)


def value_of_text(text: str | None, column: Column) -> Any:
    """The JSON value that a cell of a file without types writes for ``column``, `INVALID` if it writes none.

    A missing cell (None) is null, and so are blanks and texts like NA where no text is wanted. Booleans are written
    true and false in any case. Infinite numbers are none.
    """
    if text is None or text == "":
        return None
    if column.type not in _TYPED:
        return text
    bare = text.strip()
    if not bare or bare in MISSING_TEXTS or bare.lower() == "nan":
        return None
    if column.type in _INT_BITS:
        return _integer(bare)
    if column.type in _FLOAT_MAX:
        return _number(bare)
    return _BOOLEANS.get(bare.lower(), INVALID) if column.type == "boolean" else bare


def _integer(text: str) -> Any:
    try:
        return int(text) if text.isascii() and "_" not in text else INVALID
    except ValueError:
        return INVALID


def _number(text: str) -> Any:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return INVALID
    return number if math.isfinite(number) else INVALID
