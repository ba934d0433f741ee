"""Train, validation and holdout: at random within classes, by time, or by group. The same seed gives the same split."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, KFold, StratifiedKFold, train_test_split

from tidemill.kit.errors import Invalid, Problem
from tidemill.training.frames import Column
from tidemill.training.targets import Target

Rows = npt.NDArray[np.int64]
Scheme = Literal["random", "time", "group"]

_VALIDATION_SHARE = 0.2
_FOLDED_BELOW_ROWS = 3000
_FOLDS = 5
_MIN_GROUPS = 3


@dataclass(frozen=True)
class Split:
    """Positions of rows. ``folds`` are pairs (train, validation) for the search; the holdout is in none of them."""

    scheme: Scheme
    development: Rows
    holdout: Rows
    folds: tuple[tuple[Rows, Rows], ...]


@dataclass(frozen=True)
class SplitPlan:
    """``by``: values of the time or group column, None for a random split."""

    seed: int
    holdout_share: float
    scheme: Scheme = "random"
    by: pd.Series | None = None


def make_split(target: Target, plan: SplitPlan) -> Split:
    """Divide the rows of ``target``. Raises Invalid where a part would lack a class (``split_class_missing``)."""
    rows = np.arange(len(target.codes))
    development, holdout = _divide(rows, target, plan, plan.holdout_share)
    _check_classes(target, development, holdout)
    if plan.scheme == "random" and len(development) < _FOLDED_BELOW_ROWS:
        folds = _cross_validation(development, target, plan.seed)
    else:
        folds = (_divide(development, target, plan, _VALIDATION_SHARE),)
    for train, validation in folds:
        _check_classes(target, train, validation)
    return Split(plan.scheme, development, holdout, folds)


def check_time_column(values: pd.Series, column: Column) -> None:
    """Raises Invalid unless every row has a time, and there are several."""
    if column.kind not in {"datetime", "integer", "float"}:
        raise _unfit(column.name, "time_column_type", "A time column holds dates, times or numbers.")
    missing = int(values.isna().sum())
    if missing:
        raise _unfit(column.name, "time_column_missing", f"The time column {column.name} lacks {missing} values.")
    if values.nunique() < _MIN_GROUPS:
        raise _unfit(column.name, "time_column_constant", "The time column needs at least three different times.")


def check_group_column(values: pd.Series, column: Column) -> None:
    """Raises Invalid if there are too few groups to divide."""
    groups = int(values.nunique(dropna=False))
    if groups < _MIN_GROUPS:
        detail = f"The group column {column.name} has {groups} groups; at least {_MIN_GROUPS} are needed."
        raise _unfit(column.name, "groups_too_few", detail)


def _divide(rows: Rows, target: Target, plan: SplitPlan, share: float) -> tuple[Rows, Rows]:
    if plan.scheme == "time":
        assert plan.by is not None
        return _by_time(rows, plan.by.to_numpy(), share)
    if plan.scheme == "group":
        assert plan.by is not None
        groups = pd.factorize(plan.by, use_na_sentinel=False)[0][rows]
        splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=plan.seed)
        first, second = next(splitter.split(rows, groups=groups))
        return rows[first], rows[second]
    classes = None if target.task == "regression" else target.codes[rows]
    first, second = train_test_split(rows, test_size=share, random_state=plan.seed, stratify=classes)
    return np.sort(first), np.sort(second)


def _by_time(rows: Rows, times: npt.NDArray[Any], share: float) -> tuple[Rows, Rows]:
    """The newest ``share`` of the rows; rows of the same moment stay together."""
    order = rows[np.argsort(times[rows], kind="stable")]
    boundary = times[order[int(len(order) * (1 - share))]]
    later = times[order] >= boundary
    if later.all():
        later = times[order] > boundary
    return order[~later], order[later]


def _cross_validation(rows: Rows, target: Target, seed: int) -> tuple[tuple[Rows, Rows], ...]:
    if target.task == "regression":
        parts = KFold(_FOLDS, shuffle=True, random_state=seed).split(rows)
    else:
        smallest = int(np.bincount(target.codes[rows].astype(np.int64)).min())
        folds = max(2, min(_FOLDS, smallest))
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, target.codes[rows])
    return tuple((rows[train], rows[validation]) for train, validation in parts)


def _check_classes(target: Target, train: Rows, test: Rows) -> None:
    if len(train) == 0 or len(test) == 0:
        raise Invalid("split_empty", "The split leaves a part without rows.")
    if target.task == "regression":
        return
    seen, asked = np.unique(target.codes[train]), np.unique(target.codes[test])
    if len(seen) < len(target.classes) or len(asked) < 2:
        detail = (
            "The split leaves a part without one of the target's classes. Choose another time or group column, "
            "or a random split."
        )
        raise _unfit(target.name, "split_class_missing", detail)


def _unfit(name: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, [Problem(f"column {name}", code, detail)])
