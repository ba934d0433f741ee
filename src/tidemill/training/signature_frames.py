"""Rows of a dataset version as the frame that a model's signature asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.kit.errors import Invalid, Problem

Rows = npt.NDArray[np.int64]

_ARROW: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "datetime": pa.timestamp("ns"),
}


def frame_for(parts: Sequence[Path], rows: Rows | None, signature: dict[str, Any]) -> pd.DataFrame:
    """The given rows (positions over all parts; all when None) with the signature's columns and types.

    Integers may widen to floats and dates to datetimes; nothing else is converted. An optional column that is absent
    is all missing. Raises Invalid naming every
    required column that is missing (``columns_missing``) or of another type (``columns_differ``).
    """
    inputs = [column for column in signature["inputs"] if "name" in column]
    present = set(column_names(parts))
    missing = [column["name"] for column in inputs if column["name"] not in present and column.get("required", True)]
    if missing:
        raise Invalid("columns_missing", "The dataset lacks columns that the model needs.", _places(missing))
    found = [column["name"] for column in inputs if column["name"] in present]
    return _typed(read_rows(parts, rows, found), inputs)


def column_names(parts: Sequence[Path]) -> list[str]:
    return list(pq.read_schema(parts[0]).names)


def row_count(parts: Sequence[Path]) -> int:
    return sum(pq.read_metadata(part).num_rows for part in parts)


def read_rows(parts: Sequence[Path], rows: Rows | None, columns: Sequence[str]) -> pa.Table:
    """Columns of the given rows in their order, read part by part so that only the asked rows stay in memory."""
    pieces, start = [], 0
    for part in parts:
        count = pq.read_metadata(part).num_rows
        inside = None if rows is None else rows[(rows >= start) & (rows < start + count)] - start
        if inside is None or len(inside):
            table = pq.read_table(part, columns=list(columns))
            pieces.append(table if inside is None else table.take(pa.array(inside)))
        start += count
    if rows is not None and len(rows) and rows.max() >= start:
        raise Invalid("rows_missing", "The holdout names rows that the dataset version does not have.")
    schema = pq.read_schema(parts[0])
    empty = pa.schema([schema.field(name) for name in columns]).empty_table()
    return pa.concat_tables([empty, *pieces], promote_options="permissive")


def _typed(table: pa.Table, columns: Sequence[dict[str, Any]]) -> pd.DataFrame:
    differing, arrays = [], {}
    for column in columns:
        name = column["name"]
        absent = name not in table.column_names
        array = pa.chunked_array([pa.nulls(table.num_rows)]) if absent else table[name]
        target = _ARROW.get(str(column.get("type")))
        if target is None or not _may_become(array, target):
            differing.append(name)
        else:
            arrays[name] = array.cast(target, safe=False)
    if differing:
        raise Invalid("columns_differ", "Columns have another type than in the model's signature.", _places(differing))
    frame: pd.DataFrame = pa.table(arrays).to_pandas()
    return frame


def _may_become(array: pa.ChunkedArray, target: pa.DataType) -> bool:
    source, kinds = array.type, pa.types
    if array.null_count and kinds.is_integer(target):
        return False  # pandas would turn the column into floats
    if kinds.is_null(source) or source == target:
        return True
    widens = (
        (kinds.is_floating(target) and (kinds.is_integer(source) or kinds.is_floating(source)))
        or (kinds.is_integer(target) and kinds.is_integer(source) and source.bit_width <= target.bit_width)
        or (kinds.is_timestamp(target) and (kinds.is_timestamp(source) or kinds.is_date(source)))
        or (kinds.is_string(target) and (kinds.is_large_string(source) or kinds.is_string_view(source)))
    )
    return bool(widens)


def _places(names: Sequence[str]) -> list[Problem]:
    return [Problem(f"column {name}", "column_unfit", "Missing or of another type.") for name in names[:100]]
