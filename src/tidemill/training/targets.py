"""The target: which task it makes, and whether it can be learned at all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.evaluation.statistics import Floats
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.metrics import check_metric
from tidemill.schemas.experiments import Task
from tidemill.training.findings import Finding
from tidemill.training.frames import Column, Table

MIN_ROWS = 50
MIN_ROWS_PER_CLASS = 5
MAX_CLASSES = 100
GREATEST_TARGET = 1e30
"""Of quantities, whose errors are squared and summed, by some learners in 32-bit floats."""
MAX_CLASSES_GUESSED = 10
_UNIQUE_SHARE = 0.5
DEFAULT_METRIC: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


@dataclass(frozen=True)
class Target:
    """``codes``: n numbers for regression, else n positions in ``classes``; the model is fitted to ``labels``."""

    name: str
    task: Task
    classes: tuple[Any, ...]
    codes: Floats
    labels: npt.NDArray[Any]


def rows_with_target(table: Table, name: str) -> npt.NDArray[np.int64]:
    """Positions of the rows whose target is known. Raises Invalid if there are too few to learn from."""
    values = table.frame[name]
    known = np.flatnonzero(values.notna().to_numpy())
    if len(known) == 0:
        raise _invalid(name, "target_all_missing", f"The target column {name} holds no value.")
    if len(known) < MIN_ROWS:
        detail = f"Training needs at least {MIN_ROWS} rows with a target; there are {len(known)}."
        raise _invalid(name, "rows_too_few", detail)
    if len(known) > 1 and values.iloc[known].nunique() < 2:
        raise _invalid(name, "target_constant", f"The target column {name} has one value only.")
    return known


def make_target(values: pd.Series, column: Column, task: Task | None) -> tuple[Target, list[Finding]]:
    """Infer the task, or check the wanted one; ``values`` hold none missing. Raises Invalid where it cannot work."""
    if column.kind == "datetime":
        raise _invalid(column.name, "target_type_unsupported", "A date or time cannot be a target.")
    distinct = int(values.nunique())
    findings = []
    chosen = task
    if chosen is None:
        chosen, why = _inferred(values, column, distinct)
        findings.append(Finding("task_inferred", "info", f"The task is {chosen}: {why}.", (column.name,)))
    if chosen == "regression":
        return _regression(values, column), findings
    return _classification(values, column, chosen), findings


def metric_of(task: Task, wanted: str | None) -> str:
    """The wanted metric, or the task's usual one. Raises Invalid if it does not fit the task."""
    if wanted is None:
        return DEFAULT_METRIC[task]
    check_metric(wanted, task)
    return wanted


def _inferred(values: pd.Series, column: Column, distinct: int) -> tuple[Task, str]:
    if column.kind == "boolean" or distinct == 2:
        return "binary", "the target has two values"
    if column.kind == "string":
        return "multiclass", f"the target is text with {distinct} distinct values"
    if not _is_whole(values):
        return "regression", "the target holds fractions"
    if distinct <= MAX_CLASSES_GUESSED:
        hint = "choose regression if they are quantities"
        return "multiclass", f"the target has only {distinct} distinct whole numbers, taken as classes ({hint})"
    hint = "choose multiclass if they are names"
    return "regression", f"the target has {distinct} distinct whole numbers, taken as quantities ({hint})"


def _regression(values: pd.Series, column: Column) -> Target:
    if column.kind in {"string", "boolean"}:
        detail = f"Regression needs numbers; the target column {column.name} is of type {column.kind}."
        raise _invalid(column.name, "target_not_numeric", detail)
    numbers = values.to_numpy(dtype=np.float64)
    beyond = np.flatnonzero(np.abs(numbers) > GREATEST_TARGET)
    if len(beyond):
        row = int(values.index[beyond[0]]) + 1
        detail = (
            f"{len(beyond)} values of the target column {column.name} lie beyond {GREATEST_TARGET:g}, the first in row "
            f"{row}: errors of such numbers cannot be squared. Use another unit or the logarithm."
        )
        raise Invalid(
            "target_out_of_range", detail, [Problem(f"row {row}, column {column.name}", "target_out_of_range", detail)]
        )
    return Target(column.name, "regression", (), numbers, numbers)


def _classification(values: pd.Series, column: Column, task: Task) -> Target:
    """Counted before any label is copied: one long text among many rows must not cost memory."""
    found, distinct = pd.factorize(values)
    _check_classes(np.bincount(found, minlength=len(distinct)), column, task)
    labels = _labels(distinct, column)
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    codes, classes = place[found], labels[order]
    return Target(column.name, task, tuple(classes.tolist()), codes.astype(np.float64), classes[codes])


def _check_classes(counts: npt.NDArray[np.int64], column: Column, task: Task) -> None:
    """Raises Invalid if there are too many classes, or too few rows of one."""
    many, rows = len(counts), int(counts.sum())
    if many > max(MAX_CLASSES, 2) or (many > 2 and many > _UNIQUE_SHARE * rows):
        detail = f"The target column {column.name} has {many} distinct values in {rows} rows."
        hint = "" if column.kind == "string" else " Choose the task regression for quantities."
        raise _invalid(column.name, "target_too_many_classes", f"{detail} At most {MAX_CLASSES} classes work.{hint}")
    if task == "binary" and many != 2:
        detail = f"A binary task needs two classes; the target column {column.name} has {many}."
        raise _invalid(column.name, "target_not_binary", detail)
    rare = int((counts < MIN_ROWS_PER_CLASS).sum())
    if rare:
        detail = f"Each class needs at least {MIN_ROWS_PER_CLASS} rows; {rare} of {many} have fewer."
        raise _invalid(column.name, "class_too_small", detail)


def _labels(distinct: Any, column: Column) -> npt.NDArray[Any]:
    """Texts as objects: an array of texts proper has room for the longest in every row, and drops NUL at their end."""
    if column.kind == "boolean":
        return np.asarray(distinct, dtype=np.bool_)
    if column.kind == "string":
        return np.asarray(distinct, dtype=np.object_)
    numbers = np.asarray(distinct)
    if numbers.dtype.kind == "i":
        return numbers
    if not _is_whole(pd.Series(numbers)):
        detail = (
            f"Classes are text, flags or whole numbers; the target column {column.name} holds fractions or numbers "
            "beyond 2**53. Choose the task regression for quantities, or write the classes as text."
        )
        raise _invalid(column.name, "target_fractions", detail)
    return numbers.astype(np.int64)


def _is_whole(values: pd.Series) -> bool:
    numbers = values.to_numpy(dtype=np.float64)
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() and (abs(numbers) < 2**53).all())


def _invalid(name: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, [Problem(f"column {name}", code, detail)])
