"""Train, validation and holdout: at random within classes, by time, or by group. The same seed gives the same split."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from tidemill.kit.errors import Invalid, Problem
from tidemill.training.frames import Column
from tidemill.training.row_keys import Keys
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
    """``by`` has a value for each row, its time or a key of its group; None for a random split."""

    seed: int
    holdout_share: float
    scheme: Scheme = "random"
    by: npt.NDArray[Any] | None = None


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
    """Raises Invalid unless every row has a time, and there are several. The index of ``values`` counts the rows."""
    if column.kind not in {"datetime", "integer", "float"}:
        raise _unfit(column.name, "time_column_type", "A time column holds dates, times or numbers.")
    missing = int(values.isna().sum())
    if missing:
        first = int(values.index[values.isna()].min()) + 1
        detail = f"The time column {column.name} is empty in {missing} rows, the first of which is row {first}."
        problem = Problem(f"row {first}, column {column.name}", "time_column_missing", detail)
        raise Invalid("time_column_missing", detail, [problem])
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
        return _by_time(rows, plan.by, share)
    if plan.scheme == "group":
        assert plan.by is not None
        return _by_group(rows, plan.by, share)
    classes = None if target.task == "regression" else target.codes[rows]
    _check_room(target, len(rows), share)
    first, second = train_test_split(rows, test_size=share, random_state=plan.seed, stratify=classes)
    return np.sort(first), np.sort(second)


def _check_room(target: Target, rows: int, share: float) -> None:
    """A random split holds out rows of each class, so there must be as many as there are classes."""
    many = len(target.classes)
    held_out = math.ceil(share * rows)
    if held_out < many or rows - held_out < many:
        least = math.ceil(100 * many / rows) / 100
        detail = (
            f"A holdout of {held_out} of {rows} rows has no room for each of the {many} classes of the target column "
            f"{target.name}. Use a holdout share of at least {least:g}, more rows or fewer classes."
        )
        raise _unfit(target.name, "holdout_too_small", detail)


def _by_group(rows: Rows, keys: Keys, share: float) -> tuple[Rows, Rows]:
    """Whole groups in the order of their keys, each that brings the number of rows nearer to the ``share``.

    A group's key follows from its value, so groups that a dataset grows by leave the others where they were.
    """
    _, group, sizes = np.unique(keys[rows], return_inverse=True, return_counts=True)
    wanted, taken, picked = share * len(rows), 0, np.zeros(len(sizes), dtype=bool)
    for number, size in enumerate(sizes):
        if abs(taken + size - wanted) < abs(taken - wanted):
            picked[number], taken = True, taken + size
    if not picked.any():
        picked[sizes.argmin()] = True
    return rows[~picked[group]], rows[picked[group]]


def _by_time(rows: Rows, times: npt.NDArray[Any], share: float) -> tuple[Rows, Rows]:
    """The newest rows, cut between two moments where that comes nearest to the ``share``; moments stay whole."""
    order = rows[np.argsort(times[rows], kind="stable")]
    ordered = times[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(cuts) == 0:
        return order, order[:0]
    cut = cuts[np.abs(cuts - len(order) * (1 - share)).argmin()]
    return order[:cut], order[cut:]


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
        detail = (
            "The split leaves a part without rows: too few moments or groups are left to divide. Choose another time "
            "or group column, another holdout share or a random split."
        )
        raise Invalid("split_empty", detail)
    if target.task == "regression":
        return
    seen, asked = np.unique(target.codes[train]), np.unique(target.codes[test])
    if len(seen) < len(target.classes) or len(asked) < 2:
        detail = (
            "The split leaves a part without one of the target's classes. Choose another time or group column, "
            "another seed or a random split."
        )
        raise _unfit(target.name, "split_class_missing", detail)


def _unfit(name: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, [Problem(f"column {name}", code, detail)])
