"""One column of a format that has types: kept, widened to ours, or refused."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.schemas.datasets import ColumnType
from tidemill.training.ingest.model import Evidence, Kind, Plan
from tidemill.training.ingest.text_column import ARROW_TYPES, TextReading, TextSlice, read_texts

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


def our_type(arrow_type: Any) -> ColumnType | None:
    """The type that holds values of ``arrow_type``; None if we have none, as for nested values and bytes."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return our_type(arrow_type.value_type)
    if types.is_decimal(arrow_type):
        return "integer" if arrow_type.scale == 0 and arrow_type.precision <= 18 else "float"
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
    """``values`` as the plan's type; NaN is missing, infinite numbers and integers that do not fit are noted."""
    own = our_type(values.type)
    if plan.type == "string" or (own, plan.type) not in WIDENING | {(plan.type, plan.type)}:
        return read_texts(TextSlice(values.cast(pa.string()), first_index), plan, evidence, reading)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    codes = np.where(present, _KINDS[plan.type], Kind.MISSING).astype(np.int8)
    if plan.type == "float":
        values = _floats(values, codes, reading)
    elif plan.type == "integer":
        values = _integers(values, codes)
    elif plan.type == "datetime" and pa.types.is_timestamp(values.type) and values.type.tz:
        values = values.cast(pa.timestamp("us", "UTC"), safe=False)
        codes[codes == Kind.DATETIME] = Kind.ZONED
    evidence.add(codes, first_index, (Kind.MISSING, Kind.INFINITE, Kind.BIG_INTEGER))
    return values.cast(ARROW_TYPES[plan.type], safe=plan.type != "datetime")


def _floats(values: Any, codes: Any, reading: TextReading) -> Any:
    exact = pa.types.is_integer(values.type)
    values = values.cast(pa.float64(), safe=False)
    numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    codes[np.isnan(numbers)] = Kind.MISSING
    infinite = np.isinf(numbers)
    codes[infinite] = Kind.MISSING if "inf" in reading.tokens else Kind.INFINITE
    if exact:
        codes[np.abs(numbers) > 2.0**53] = Kind.BIG_INTEGER
    return pc.if_else(pa.array(np.isfinite(numbers)), values, pa.scalar(None, pa.float64()))


def _integers(values: Any, codes: Any) -> Any:
    if pa.types.is_uint64(values.type):
        fits = pc.less_equal(values, pa.scalar(2**63 - 1, pa.uint64())).fill_null(True)
        codes[~fits.to_numpy(zero_copy_only=False)] = Kind.BIG_INTEGER
        values = pc.if_else(fits, values, pa.scalar(None, pa.uint64()))
    return values
