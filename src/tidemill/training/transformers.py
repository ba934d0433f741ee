"""Transformers that scikit-learn lacks. Saved models name these classes: renaming one breaks every model that has it.

Each is stateless but for what `fit` stores in plain attributes, takes a frame and gives float64.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

GREATEST_FEATURE = float(np.finfo(np.float32).max)
"""Beyond it, about 3.4e38, numbers are alike to every model."""
_SECONDS_PER_DAY = 86_400.0
_CALENDAR = ("month", "day", "dayofweek", "dayofyear", "hour", "minute")
_TREND = ("year", "days")


class BooleanNumbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """True, False and missing as 1, 0 and NaN."""

    def fit(self, frame: pd.DataFrame, _target: Any = None) -> Self:
        self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        self.n_features_in_ = frame.shape[1]
        return self

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        return frame.astype(np.float64).to_numpy()

    def get_feature_names_out(self, _names: Sequence[str] | None = None) -> npt.NDArray[np.object_]:
        return self.feature_names_in_


class BoundedNumbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Numbers within what 32-bit floats hold, as trees compare them; those beyond count as the greatest and the least.

    Squares of such numbers stay finite too, so that scaling and linear models cope.
    """

    def fit(self, frame: pd.DataFrame, _target: Any = None) -> Self:
        self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        self.n_features_in_ = frame.shape[1]
        return self

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        return within_bounds(frame.to_numpy(dtype=np.float64, na_value=np.nan))

    def get_feature_names_out(self, _names: Sequence[str] | None = None) -> npt.NDArray[np.object_]:
        return self.feature_names_in_


def within_bounds(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same with those beyond `GREATEST_FEATURE` moved to it; missing ones stay missing."""
    return np.clip(numbers, -GREATEST_FEATURE, GREATEST_FEATURE)


class DatetimeParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Each datetime as calendar parts, and with ``trend`` also as year and days since 1970. Missing times give NaN.

    Parts that were constant when fitted (the hour of a date, say) are left out.
    """

    def __init__(self, trend: bool = True) -> None:
        self.trend = trend

    def fit(self, frame: pd.DataFrame, _target: Any = None) -> Self:
        self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        self.n_features_in_ = frame.shape[1]
        kept: list[str] = []
        for name in frame.columns:
            kept += [f"{name}\n{part}" for part in self._all_parts() if _varies(_part(frame[name], part))]
        self.parts_ = kept
        return self

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        columns = []
        for key in self.parts_:
            name, _, part = key.rpartition("\n")
            columns.append(_part(pd.to_datetime(frame[name]), part))
        return np.column_stack(columns) if columns else np.empty((len(frame), 0))

    def get_feature_names_out(self, _names: Sequence[str] | None = None) -> npt.NDArray[np.object_]:
        return np.asarray([key.replace("\n", " ") for key in self.parts_], dtype=object)

    def _all_parts(self) -> tuple[str, ...]:
        return _CALENDAR + _TREND if self.trend else _CALENDAR


def _varies(values: npt.NDArray[np.float64]) -> bool:
    return len(np.unique(values[~np.isnan(values)])) > 1


def _part(values: pd.Series, part: str) -> npt.NDArray[np.float64]:
    if part == "days":
        since = values - pd.Timestamp(0)
        return np.asarray(since.dt.total_seconds() / _SECONDS_PER_DAY, dtype=np.float64)
    return getattr(values.dt, part).to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]
