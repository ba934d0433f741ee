"""A number for each row that follows from its content, by which rows are found again in another dataset version."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Keys = npt.NDArray[np.uint64]

_BATCH_ROWS = 100_000
_FLOAT_HOLDS = 2**53
_STEP = 0x9E3779B97F4A7C15


def row_keys(parts: Sequence[Path], columns: Sequence[str]) -> Keys:
    """One key a row over all parts; equal rows get different ones, in the same order in every dataset."""
    hashes = [
        _content(batch)
        for part in parts
        for batch in pq.ParquetFile(part).iter_batches(_BATCH_ROWS, columns=list(columns))
    ]
    content = pd.Series(np.concatenate(hashes) if hashes else np.empty(0, np.uint64))
    earlier = np.asarray(content.groupby(content).cumcount(), np.uint64)
    return _mixed(_mixed(np.asarray(content, np.uint64)) ^ earlier)


def value_keys(values: pd.Series, seed: int) -> Keys:
    """One key a row, equal for equal values; another seed gives them another order."""
    if values.dtype.kind not in "iu":
        return _mixed(_hashed(values), seed)
    # As floats, since a column of integers becomes one of floats when it has gaps; but not where they would be alike.
    large = (values > _FLOAT_HOLDS) | (values < -_FLOAT_HOLDS)
    return _mixed(np.where(large, _hashed(values), _hashed(values.astype("float64"))), seed)


def _hashed(values: pd.Series) -> Keys:
    return np.asarray(pd.util.hash_pandas_object(values, index=False), np.uint64)


def common_columns(one: Path, other: Path) -> list[str]:
    """Names of the columns that two Parquet files share, kinds and all."""
    first, second = pq.read_schema(one), pq.read_schema(other)
    shared = sorted(set(first.names) & set(second.names))
    return [name for name in shared if _kind(first.field(name).type) == _kind(second.field(name).type)]


def _content(batch: pa.RecordBatch) -> Keys:
    keys = np.asarray(pd.util.hash_pandas_object(_comparable(batch), index=False), np.uint64)
    for place, name in enumerate(sorted(batch.schema.names)):
        if pa.types.is_integer(batch.schema.field(name).type):
            rest = _beyond_floats(batch[name])
            keys = np.where(rest == 0, keys, keys ^ _mixed(rest, place))
    return keys


def _beyond_floats(integers: pa.Array) -> Keys:
    """What each integer is more, or modulo 2**64 less, than the float nearest to it; zero up to 2**53."""
    values = np.asarray(integers.fill_null(0).to_numpy(zero_copy_only=False))
    if not len(values) or max(abs(int(values.max())), abs(int(values.min()))) <= _FLOAT_HOLDS:
        return np.zeros(len(values), np.uint64)
    near, largest = values.astype(np.float64), np.iinfo(values.dtype).max
    is_past = near >= float(largest)  # which is one more than there is: the largest stands for it
    back = np.where(is_past, largest, np.where(is_past, 0, near).astype(values.dtype))
    return values.astype(np.uint64) - back.astype(np.uint64) + is_past.astype(np.uint64)


def _comparable(batch: pa.RecordBatch) -> pd.DataFrame:
    """Numbers and flags as floats, since a column of integers becomes one of floats when a later version has gaps."""
    arrays = {name: batch[name].cast(_kind(batch[name].type), safe=False) for name in sorted(batch.schema.names)}
    frame: pd.DataFrame = pa.table(arrays).to_pandas()
    return frame


def _kind(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind):
        return pa.float64()
    return pa.timestamp("us") if types.is_timestamp(kind) or types.is_date(kind) else pa.string()


def _mixed(keys: Keys, seed: int = 0) -> Keys:
    """SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014), elementwise."""
    mixed = keys + np.uint64(_STEP * (seed + 1) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
