"""What models answer, as values that can be answered, recorded and read again; all else is an error that tells what.

A model may answer anything that Python has. Kept are numbers, texts, booleans, nothing, moments and days (as RFC 3339
writes them), and lists and records of these. A missing value (None, NaN, NaT, pandas.NA) is none: JSON's null.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

from tidemill.kit.errors import Invalid, Problem

CLASSES_REPEATED = "model_classes_repeated"
DEEPEST = 32
"""Levels of lists and records within one value."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_DOUBLE_BYTES = 8
_LEAST, _GREATEST = -(2**63), 2**64 - 1
"""What JSON is written and read with holds no integer beyond."""
_PLAIN = frozenset({bool, int, float, str, type(None)})
_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})
_DETAILS = {
    "prediction_not_finite": "The model answers infinity, which JSON cannot write",
    "prediction_out_of_range": "The model answers an integer of more than 64 bits",
    "prediction_text_unusable": "The model answers a text with half a surrogate pair",
    "prediction_too_deep": f"The model answers lists or records nested deeper than {DEEPEST} levels",
    "prediction_names_equal": "The model answers a record in which two names are equal as texts",
}


class _Unusable(Exception):
    """``code``: of `_DETAILS`, or ``prediction_type_unsupported`` with the type's name as ``detail``."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or _DETAILS[code]


def plain_values(answer: Any) -> list[Any]:
    """``answer``, a list or array of one value for each row, as values of JSON; NaN stays NaN, integers stay exact.

    Raises Invalid with a code of its own for each sort of value that none of them can be, and the first row of it.
    """
    if _is_plain_array(answer):
        found: list[Any] = answer.tolist()
        return found
    values = _listed(answer)
    types = set(map(type, values))
    if types == {float}:
        _check_finite(values)
        return values
    if types == {str} and not any(map(_SURROGATES.search, set(values))):
        return values
    return [_row(value, row) for row, value in enumerate(values)]


def plain_probabilities(answer: Any, row_count: int, class_count: int) -> list[list[float]]:
    """Rows x classes. Raises Invalid for another shape, or for what are no finite numbers."""
    if _is_plain_array(answer) and getattr(answer, "shape", None) == (row_count, class_count) and _kind(answer) == "f":
        shares: list[list[float]] = answer.tolist()
        return shares
    rows = plain_values(answer)
    if len(rows) != row_count or not all(isinstance(row, list) and len(row) == class_count for row in rows):
        raise Invalid("model_output_shape", "The model's probabilities are not one for each row and class.")
    for row, values in enumerate(rows):
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            raise _refused(_Unusable("prediction_type_unsupported", "The model's probabilities are not numbers"), row)
    return rows


def plain_classes(classes: Sequence[Any]) -> tuple[Any, ...]:
    """The labels of the probabilities.

    Raises Invalid where they are no labels (``model_classes_unusable``), or two are equal as texts, so that one would
    take the other's probability (``model_classes_repeated``).
    """
    labels = tuple(plain_values(list(classes)))
    kinds = {_label_kind(label) for label in labels}
    if len(kinds) != 1 or None in kinds:
        raise Invalid("model_classes_unusable", "The model's classes are not all numbers, or booleans, or texts.")
    texts = {label if isinstance(label, str) else json.dumps(label) for label in labels}
    if min(len(texts), len(set(labels))) < len(labels):
        raise Invalid(CLASSES_REPEATED, "Two of the model's classes are equal as texts.")
    return labels


def _is_plain_array(answer: Any) -> bool:
    """Whether it is an array of NumPy, of finite numbers or flags that Python has: most answers are, and large ones."""
    if hasattr(answer, "to_numpy") or not (hasattr(answer, "tolist") and hasattr(answer, "ndim")) or not answer.ndim:
        return False
    kind = _kind(answer)
    if kind == "f" and answer.dtype.itemsize <= _DOUBLE_BYTES and not hasattr(answer, "mask"):
        return not (abs(answer) == math.inf).any()
    return kind in "biu" and not hasattr(answer, "mask")


def _label_kind(label: Any) -> str | None:
    """None for what is no label."""
    if isinstance(label, bool):
        return "boolean"
    is_stored = isinstance(label, float) or (isinstance(label, int) and _LEAST <= label < -_LEAST)
    return "number" if is_stored else "text" if isinstance(label, str) else None


def _check_finite(values: Iterable[float]) -> None:
    for row, value in enumerate(values):
        if math.isinf(value):
            raise _refused(_Unusable("prediction_not_finite"), row)


def _row(value: Any, row: int) -> Any:
    try:
        return _plain(value, 0)
    except _Unusable as unusable:
        raise _refused(unusable, row) from None
    except Exception as error:  # a value of a foreign type may raise whatever it is asked for
        raise _refused(_unsupported(type(value).__name__), row) from error


def _refused(unusable: _Unusable, row: int) -> Invalid:
    problem = Problem(f"/predictions/{row}", unusable.code, f"{unusable.detail}.")
    return Invalid(unusable.code, f"{unusable.detail} (first in row {row + 1}).", [problem])


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise _Unusable("prediction_too_deep")
    if type(value) not in _PLAIN:
        value = _of_python(value)
    if isinstance(value, float):
        if math.isinf(value):
            raise _Unusable("prediction_not_finite")
    elif isinstance(value, str):
        if _SURROGATES.search(value):
            raise _Unusable("prediction_text_unusable")
    elif isinstance(value, dict):
        return _record(value, depth)
    elif isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    elif isinstance(value, int) and not _LEAST <= value <= _GREATEST:
        raise _Unusable("prediction_out_of_range")
    return value


def _record(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    names = [str(_plain(name, depth)) for name in value]
    if len(set(names)) < len(names):
        raise _Unusable("prediction_names_equal")
    return {name: _plain(inner, depth + 1) for name, inner in zip(names, value.values(), strict=True)}


def _of_python(value: Any) -> Any:
    """As one of Python's own plain types; what a subclass or a library's type stands for."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _of_numpy(value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    raise _unsupported(type(value).__name__)


def _of_numpy(value: Any) -> Any:
    """A scalar or an array, whose ``tolist`` would turn moments into integers and keep what is wider than Python's."""
    if hasattr(value, "to_numpy"):  # of pandas, whose own arrays would become floats where one value is missing
        return list(value)
    kind = _kind(value)
    if kind == "M":
        return list(value) if value.ndim else _moment(value)
    if kind == "f" and value.dtype.itemsize > _DOUBLE_BYTES:
        return list(value) if value.ndim else float(value)
    if kind not in "biufUO":
        raise _unsupported(str(value.dtype))
    plain = value.tolist()
    return plain if value.ndim or type(plain) in _PLAIN else _of_python(plain)


def _moment(value: Any) -> str | None:
    """To the microsecond as Python writes it; finer, or beyond Python's years, as NumPy does."""
    exact, moment = str(value), value.astype("datetime64[us]")
    if exact == "NaT":
        return None
    within = moment.item()
    return str(within.isoformat()) if moment == value and hasattr(within, "isoformat") else exact


def _kind(value: Any) -> str:
    return str(getattr(getattr(value, "dtype", None), "kind", " "))


def _listed(answer: Any) -> list[Any]:
    if hasattr(answer, "dtype"):
        answer = _array(answer)
    if not isinstance(answer, (list, tuple)):
        raise Invalid("model_output_shape", "The model answers neither with rows nor with named columns.")
    return list(answer)


def _array(answer: Any) -> Any:
    try:
        return _of_numpy(answer)
    except _Unusable as unusable:
        raise _refused(unusable, 0) from None


def _unsupported(name: str) -> _Unusable:
    detail = f"The model answers values of the type {name[:100]}, which JSON lacks"
    return _Unusable("prediction_type_unsupported", detail)
