"""What the texts of a column look like: the evidence from which its type is decided.

Regular expressions run in RE2 inside Arrow, in linear time. Only columns that contradict what was expected of them come
here; the others are converted at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.training.ingest.model import DAYS_END, FIRST_DAY, Codes, Kind, Mask

NUMBERS = (Kind.INTEGER, Kind.FLOAT, Kind.INFINITE)
DESCRIPTIONS = {
    Kind.INTEGER: "an integer",
    Kind.FLOAT: "a number with decimals",
    Kind.INFINITE: "an infinite number",
    Kind.CODE: "a number with leading zeros or a plus sign",
    Kind.BIG_INTEGER: "an integer beyond 64 bits",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a date",
    Kind.DATETIME: "a date with time",
    Kind.ZONED: "a date with time and zone",
    Kind.TEXT: "text",
    Kind.FAR: "a date outside the years 1 to 9999",
}
_CODE = r"^([+-]?0\d+(\.\d*)?|\+\d{6,})$"
_INTEGER = r"^[+-]?(0|[1-9]\d*)$"
_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"(?i)^[+-]?inf(inity)?$"
_BOOLEAN = r"(?i)^(true|false)$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_CLOCK = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
_DATETIME = _CLOCK + "$"
_ZONED = _CLOCK + r"(Z|[+-]\d\d:?\d\d)$"
_MISSING_WORDS = r"(?i)^(nan)?$"


def classify(texts: Any, numbers: Any, tokens: Sequence[str], quoted: Mask | None = None) -> Codes:
    """The kind of each of ``texts``, a text array whose surrounding blanks are gone already.

    numbers: the same texts with a point as decimal mark. quoted: values that their format says are text, so that
    ``"12"`` in JSON is no number; dates may still be.
    """
    codes = np.full(len(texts), Kind.TEXT, dtype=np.int8)
    present = _numpy(texts.is_valid())
    codes[~present] = Kind.MISSING
    for kind, pattern in ((Kind.FLOAT, _FLOAT), (Kind.INTEGER, _INTEGER), (Kind.CODE, _CODE),
                          (Kind.INFINITE, _INFINITE), (Kind.BOOLEAN, _BOOLEAN)):  # fmt: skip
        codes[_matches(numbers, pattern)] = kind
    _mark_big_integers(codes, numbers)
    if quoted is not None:
        codes[quoted & (codes != Kind.MISSING)] = Kind.TEXT
    _mark_dates(codes, texts)
    is_token = _matches(texts, _MISSING_WORDS) | _numpy(pc.is_in(texts, value_set=pa.array(tokens, pa.string())))
    codes[is_token if quoted is None else is_token & ~quoted] = Kind.MISSING
    return codes


def _mark_big_integers(codes: Codes, texts: Any) -> None:
    lengths = _numpy(pc.binary_length(texts).fill_null(0))
    codes[(codes == Kind.INTEGER) & (lengths > 20)] = Kind.BIG_INTEGER
    for index in np.flatnonzero((codes == Kind.INTEGER) & (lengths >= 19)):
        if not -(2**63) <= int(texts[int(index)].as_py()) < 2**63:
            codes[index] = Kind.BIG_INTEGER


def mark_codes_that_are_no_integers(codes: Codes, numbers: Any) -> None:
    """Numbers with leading zeros or a plus sign by what they are but for these: with decimals, or beyond 64 bits."""
    coded = codes == Kind.CODE
    if not coded.any():
        return
    lengths = _numpy(pc.binary_length(pc.utf8_ltrim(numbers, "+-0")).fill_null(0))
    codes[coded & (lengths > 19)] = Kind.BIG_INTEGER
    for index in np.flatnonzero((codes == Kind.CODE) & (lengths == 19)):
        if not -(2**63) <= int(numbers[int(index)].as_py().partition(".")[0]) < 2**63:
            codes[index] = Kind.BIG_INTEGER
    codes[coded & _numpy(pc.match_substring(numbers, ".").fill_null(False))] = Kind.FLOAT


def _mark_dates(codes: Codes, texts: Any) -> None:
    year_0 = _numpy(pc.starts_with(texts, "0000").fill_null(False))
    for kind, pattern, arrow_type in (
        (Kind.DATE, _DATE, pa.date32()),
        (Kind.DATETIME, _DATETIME, pa.timestamp("us")),
        (Kind.ZONED, _ZONED, pa.timestamp("us", "UTC")),
    ):
        shaped = _matches(texts, pattern) & (codes == Kind.TEXT) & ~year_0
        if shaped.any():
            indices = np.flatnonzero(shaped)
            real = _castable(texts.take(pa.array(indices)), arrow_type)
            codes[indices[real]] = kind
            if kind is Kind.ZONED:
                moments = texts.take(pa.array(indices[real])).cast(arrow_type)
                codes[indices[real][_numpy(far(moments))]] = Kind.FAR


def far(moments: Any) -> Any:
    """Which dates or times lie outside the years 1 to 9999."""
    first, end = (pa.scalar(day, pa.int32()).cast(pa.date32()).cast(moments.type) for day in (FIRST_DAY, DAYS_END))
    return pc.or_(pc.less(moments, first), pc.greater_equal(moments, end))


def _castable(texts: Any, arrow_type: Any) -> Mask:
    """Which texts are real: 2023-02-30 is shaped like a date but is none. Halves until the unreal ones are found."""
    try:
        texts.cast(arrow_type)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return np.zeros(1, dtype=bool)
        half = len(texts) // 2
        return np.concatenate([_castable(texts[:half], arrow_type), _castable(texts[half:], arrow_type)])
    return np.ones(len(texts), dtype=np.bool_)


def _matches(texts: Any, pattern: str) -> Any:
    return _numpy(pc.match_substring_regex(texts, pattern).fill_null(False))


def _numpy(array: Any) -> Any:
    """One byte a value."""
    return array.to_numpy(zero_copy_only=False)
