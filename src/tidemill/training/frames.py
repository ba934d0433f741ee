"""Dataset parts as one pandas frame with the few types that models are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Kind = Literal["boolean", "integer", "float", "string", "datetime"]
_ARROW: dict[Kind, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "datetime": pa.timestamp("ns"),
}
_FLOAT_HOLDS = 2**53
_FIRST_TIME, _END_OF_TIME = datetime(1678, 1, 1), datetime(2262, 1, 1)  # noqa: DTZ001 - as the columns, in UTC


@dataclass(frozen=True, slots=True)
class Column:
    """A column as models see it. Integers with missing values are floats; dates are datetimes, in UTC."""

    name: str
    kind: Kind
    nullable: bool


@dataclass(frozen=True)
class Table:
    """n rows. ``columns`` are those of ``frame``; ``unsupported`` are left out, since no model takes their type.

    rounded: columns of integers that became floats for their missing values, where floats do not tell them apart.
    beyond: by column of times, the first row whose time 64-bit nanoseconds cannot hold, as no model server takes it.
    """

    frame: pd.DataFrame
    columns: dict[str, Column]
    unsupported: tuple[str, ...]
    beyond: Mapping[str, int] = field(default_factory=dict)
    rounded: frozenset[str] = frozenset()


def read_table(parts: Sequence[Path]) -> Table:
    """All rows of all parts, in order."""
    return to_table(pa.concat_tables([pq.read_table(part) for part in parts], promote_options="permissive"))


def to_table(table: pa.Table) -> Table:
    """The same rows as models see them."""
    arrays, columns, unsupported, beyond, rounded = {}, {}, [], {}, set()
    for name in table.column_names:
        kind = _kind_of(table[name])
        if kind is None:
            unsupported.append(name)
            continue
        columns[name] = Column(name, kind, table[name].null_count > 0)
        if kind == "datetime" and (row := _first_beyond(table[name])) is not None:
            beyond[name] = row
        if kind == "float" and _is_rounded(table[name]):
            rounded.add(name)
        arrays[name] = table[name].cast(_ARROW[kind], safe=False)
    frame: pd.DataFrame = pa.table(arrays).to_pandas()
    return Table(frame, columns, tuple(unsupported), beyond, frozenset(rounded))


def _is_rounded(array: pa.ChunkedArray) -> bool:
    if not pa.types.is_integer(array.type):
        return False
    ends = pc.min_max(array).as_py()
    return ends["min"] is not None and max(-ends["min"], ends["max"]) > _FLOAT_HOLDS


def _first_beyond(times: pa.ChunkedArray) -> int | None:
    known = times.cast(pa.timestamp("us"), safe=False)
    outside = pc.or_(pc.less(known, pa.scalar(_FIRST_TIME)), pc.greater_equal(known, pa.scalar(_END_OF_TIME)))
    position = int(pc.index(outside, True).as_py())
    return None if position < 0 else position


def _kind_of(array: pa.ChunkedArray) -> Kind | None:
    source, kinds = array.type, pa.types
    if kinds.is_dictionary(source):
        source = source.value_type
    if kinds.is_integer(source):
        whole = array.null_count == 0 and source != pa.uint64()
        return "integer" if whole else "float"
    tests: tuple[tuple[Kind, bool], ...] = (
        ("boolean", kinds.is_boolean(source)),
        ("float", kinds.is_floating(source) or kinds.is_decimal(source) or kinds.is_null(source)),
        ("string", kinds.is_string(source) or kinds.is_large_string(source) or kinds.is_string_view(source)),
        ("datetime", kinds.is_timestamp(source) or kinds.is_date(source)),
    )
    return next((kind for kind, fits in tests if fits), None)
