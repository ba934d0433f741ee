"""One column of a format that has types: kept, widened to ours, or refused."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.schemas.datasets import ColumnType
from tidemill.training.ingest.model import DAYS_END, FIRST_DAY, Codes, Evidence, Kind, Plan
from tidemill.training.ingest.text_column import ARROW_TYPES, ZONES, TextReading, TextSlice, read_texts

_KINDS: dict[ColumnType, Kind] = {
    "boolean": Kind.BOOLEAN,
    "integer": Kind.INTEGER,
    "float": Kind.FLOAT,
    "string": Kind.TEXT,
    "date": Kind.DATE,
    "datetime": Kind.DATETIME,
}
WIDENING = {("integer", "float"), ("date", "datetime")}
"""Conversions between types that lose nothing (integers beyond 2**53 are refused)."""
UNFIT = (Kind.INFINITE, Kind.BIG_INTEGER, Kind.FAR)
"""What types of files can hold and ours cannot."""
_FLOAT_DIGITS = 15
_SAFE_INTEGER_DIGITS = 18
_SECONDS_PER_DAY = 86_400
_TICKS_PER_DAY = {
    "day": 1,
    "date32[day]": 1,
    "date64[ms]": _SECONDS_PER_DAY * 10**3,
    "s": _SECONDS_PER_DAY,
    "ms": _SECONDS_PER_DAY * 10**3,
    "us": _SECONDS_PER_DAY * 10**6,
    "ns": _SECONDS_PER_DAY * 10**9,
}


def our_type(arrow_type: Any) -> ColumnType | None:
    """The type that holds values of ``arrow_type``; None if we have none, as for nested values and bytes."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return our_type(arrow_type.value_type)
    if types.is_decimal(arrow_type):
        return "integer" if arrow_type.scale <= 0 else "float"
    checks: tuple[tuple[Any, ColumnType], ...] = (
        (types.is_boolean, "boolean"),
        (types.is_integer, "integer"),
        (types.is_floating, "float"),
        (types.is_date, "date"),
        (types.is_timestamp, "datetime"),
        (types.is_time, "string"),
        (types.is_null, "string"),
    )
    if types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type):
        return "string"
    return next((name for check, name in checks if check(arrow_type)), None)


def plain_text(values: Any) -> Any:
    """Texts of any encoding (dictionary, large, view) as plain strings; other values as they are."""
    arrow_type = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    return values.cast(pa.string()) if our_type(arrow_type) == "string" else values.cast(arrow_type)


def read_typed(values: Any, plan: Plan, evidence: Evidence, first_index: int, reading: TextReading) -> Any:
    """``values`` as the plan's type. NaN is missing; what the type cannot hold is noted, what it rounds is counted."""
    own = our_type(values.type)
    if plan.type == "string" or (own, plan.type) not in WIDENING | {(plan.type, plan.type)}:
        return read_texts(TextSlice(values.cast(pa.string()), first_index), plan, evidence, reading)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    codes = np.where(present, _KINDS[plan.type], Kind.MISSING).astype(np.int8)
    if plan.type == "float":
        values = _floats(values, codes, evidence, reading)
    elif plan.type == "integer":
        values = _integers(values, codes)
    elif plan.type in ("date", "datetime"):
        values = _moments(values, codes, evidence)
    evidence.add(codes, first_index, (Kind.MISSING, *UNFIT, *ZONES))
    return values.cast(ARROW_TYPES[plan.type])


def _floats(values: Any, codes: Codes, evidence: Evidence, reading: TextReading) -> Any:
    if pa.types.is_integer(values.type) and values.type.bit_width == 64:
        codes[_beyond_floats(values)] = Kind.BIG_INTEGER
    if pa.types.is_decimal(values.type):
        evidence.rounded += _count_rounded(values)
        values = values.cast(pa.string())  # straight to floats, Arrow misses the nearest one by a bit
    values = values.cast(pa.float64(), safe=False)
    numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    codes[np.isnan(numbers)] = Kind.MISSING
    infinite = np.isinf(numbers)
    codes[infinite] = Kind.MISSING if "inf" in reading.tokens else Kind.INFINITE
    return pc.if_else(pa.array(np.isfinite(numbers)), values, pa.scalar(None, pa.float64()))


def _beyond_floats(integers: Any) -> Any:
    """Which of them a float may not hold; judged before they are floats, when 2**53 + 1 is 2**53."""
    beyond = pc.greater(integers, pa.scalar(2**53, integers.type))
    if pa.types.is_signed_integer(integers.type):
        beyond = pc.or_(beyond, pc.less(integers, pa.scalar(-(2**53), integers.type)))
    return beyond.fill_null(False).to_numpy(zero_copy_only=False)


def _count_rounded(decimals: Any) -> int:
    """How many have more digits than a float surely keeps."""
    limit = Decimal(10) ** (_FLOAT_DIGITS - decimals.type.scale)
    if decimals.type.precision <= _FLOAT_DIGITS:
        return 0
    return sum(value is not None and abs(value) >= limit for value in decimals.to_pylist())


def _integers(values: Any, codes: Codes) -> Any:
    arrow_type = values.type
    if pa.types.is_uint64(arrow_type):
        fits = pc.less_equal(values, pa.scalar(2**63 - 1, pa.uint64()))
    elif pa.types.is_decimal(arrow_type) and arrow_type.precision > _SAFE_INTEGER_DIGITS:
        numbers = values.to_pylist()
        fits = pa.array([number is None or -(2**63) <= number < 2**63 for number in numbers], pa.bool_())
    else:
        return values
    fits = fits.fill_null(True)
    codes[~fits.to_numpy(zero_copy_only=False)] = Kind.BIG_INTEGER
    return pc.if_else(fits, values, pa.scalar(None, arrow_type))


def _moments(values: Any, codes: Codes, evidence: Evidence) -> Any:
    """Dates in days, times in microseconds and UTC, of the years that calendars have."""
    arrow_type = values.type
    if pa.types.is_timestamp(arrow_type) and arrow_type.tz:
        codes[codes == Kind.DATETIME] = Kind.ZONED
    target = pa.date32() if pa.types.is_date(arrow_type) else pa.timestamp("us")
    ticks = values.cast(pa.int32() if pa.types.is_date32(arrow_type) else pa.int64()).fill_null(0)
    numbers = ticks.to_numpy(zero_copy_only=False).astype(np.int64)
    per_day = _TICKS_PER_DAY[arrow_type.unit if pa.types.is_timestamp(arrow_type) else str(arrow_type)]
    near = (numbers >= FIRST_DAY * per_day) & (numbers < DAYS_END * per_day) | (codes == Kind.MISSING)
    codes[~near] = Kind.FAR
    step = max(1, per_day // _TICKS_PER_DAY["day" if target == pa.date32() else "us"])
    evidence.rounded += int(np.count_nonzero(numbers[near] % step))
    kept = pc.if_else(pa.array(near), values, pa.scalar(None, arrow_type))
    if pa.types.is_timestamp(arrow_type) and arrow_type.tz:
        kept = kept.cast(pa.timestamp("us", "UTC"), safe=False)
    return kept.cast(target, safe=False)
