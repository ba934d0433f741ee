"""From raw columns to numbers: two encodings, one for trees and one for linear models."""

from typing import Any, Literal

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tidemill.training.columns import Features
from tidemill.training.transformers import BooleanNumbers, BoundedNumbers, DatetimeParts

Encoding = Literal["trees", "linear"]

MAX_CATEGORIES = 250
"""Per column; rarer ones share one code. HistGradientBoosting takes at most 255."""
_MAX_ONE_HOT = 50


def make_encoder(features: Features, encoding: Encoding) -> ColumnTransformer:
    """An unfitted encoder. Missing and unseen categories are handled; the output is a dense float64 array."""
    return ColumnTransformer(
        _tree_parts(features) if encoding == "trees" else _linear_parts(features),
        remainder="drop",
        sparse_threshold=0,
        verbose_feature_names_out=False,
    )


def _tree_parts(features: Features) -> list[tuple[str, Any, list[str]]]:
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MAX_CATEGORIES,
    )
    parts: list[tuple[str, Any, list[str]]] = [("categories", ordinal, features.of("string"))]
    parts += [("numbers", BoundedNumbers(), features.numbers), *_plain_parts(features)]
    return [part for part in parts if part[2]]


def _linear_parts(features: Features) -> list[tuple[str, Any, list[str]]]:
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_MAX_ONE_HOT, sparse_output=False)
    parts: list[tuple[str, Any, list[str]]] = [("categories", one_hot, features.of("string"))]
    parts.append(("numbers", _scaled(("bound", BoundedNumbers())), features.numbers))
    parts += [(name, _scaled((name, step)), names) for name, step, names in _plain_parts(features)]
    return [part for part in parts if part[2]]


def _scaled(*before: tuple[str, Any]) -> Pipeline:
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline([*before, ("impute", impute), ("scale", StandardScaler())])


def _plain_parts(features: Features) -> list[tuple[str, Any, list[str]]]:
    times = features.of("datetime")
    parts: list[tuple[str, Any, list[str]]] = [
        ("booleans", BooleanNumbers(), features.of("boolean")),
        ("times", DatetimeParts(), [name for name in times if name not in features.trendless]),
        ("times_without_trend", DatetimeParts(trend=False), [name for name in times if name in features.trendless]),
    ]
    return [part for part in parts if part[2]]
