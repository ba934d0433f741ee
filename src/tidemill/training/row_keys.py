"""A number for each row that follows from its content and the seed alone, so that a split outlives new rows.

When a dataset grows, the rows that were held out before are held out again. A champion that learned from an earlier
version has then not learned from the holdout on which a challenger is compared with it.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

Keys = npt.NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15


def row_keys(frame: pd.DataFrame, seed: int) -> Keys:
    """One key a row. Equal rows are told apart by how many like them came before, so they spread over the split."""
    columns = frame[sorted(frame.columns)]
    whole = {name: "float64" for name in columns.columns if columns[name].dtype.kind in "iu"}
    # A column of integers turns to floats when a later version lacks a value: the same numbers keep their keys.
    content = pd.util.hash_pandas_object(columns.astype(whole), index=False)
    earlier = content.groupby(content).cumcount().to_numpy()
    return _mixed(_mixed(np.asarray(content, np.uint64)) ^ earlier.astype(np.uint64), seed)


def value_keys(values: pd.Series, seed: int) -> Keys:
    """One key a row, equal for equal values."""
    numeric = values.astype("float64") if values.dtype.kind in "iu" else values
    return _mixed(np.asarray(pd.util.hash_pandas_object(numeric, index=False), np.uint64), seed)


def _mixed(keys: Keys, seed: int = 0) -> Keys:
    """SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014), elementwise."""
    mixed = keys + np.uint64(_STEP * (seed + 1) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
