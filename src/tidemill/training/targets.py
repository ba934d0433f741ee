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
_MAX_CLASSES_GUESSED = 10
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
    if distinct <= _MAX_CLASSES_GUESSED:
        hint = "choose regression if they are quantities"
        return "multiclass", f"the target has only {distinct} distinct whole numbers, taken as classes ({hint})"
    hint = "choose multiclass if they are names"
    return "regression", f"the target has {distinct} distinct whole numbers, taken as quantities ({hint})"


def _regression(values: pd.Series, column: Column) -> Target:
    if column.kind in {"string", "boolean"}:
        detail = f"Regression needs numbers; the target column {column.name} is of type {column.kind}."
        raise _invalid(column.name, "target_not_numeric", detail)
    numbers = values.to_numpy(dtype=np.float64)
    return Target(column.name, "regression", (), numbers, numbers)


def _classification(values: pd.Series, column: Column, task: Task) -> Target:
    labels = _labels(values, column)
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) > max(MAX_CLASSES, 2) or (len(classes) > 2 and len(classes) > _UNIQUE_SHARE * len(labels)):
        detail = f"The target column {column.name} has {len(classes)} distinct values in {len(labels)} rows."
        hint = "" if column.kind == "string" else " Choose the task regression for quantities."
        raise _invalid(column.name, "target_too_many_classes", f"{detail} At most {MAX_CLASSES} classes work.{hint}")
    if task == "binary" and len(classes) != 2:
        detail = f"A binary task needs two classes; the target column {column.name} has {len(classes)}."
        raise _invalid(column.name, "target_not_binary", detail)
    rare = int((counts < MIN_ROWS_PER_CLASS).sum())
    if rare:
        detail = f"Each class needs at least {MIN_ROWS_PER_CLASS} rows; {rare} of {len(classes)} have fewer."
        raise _invalid(column.name, "class_too_small", detail)
    return Target(column.name, task, tuple(classes.tolist()), codes.astype(np.float64), labels)


def _labels(values: pd.Series, column: Column) -> npt.NDArray[Any]:
    if column.kind == "boolean":
        return values.to_numpy(dtype=np.bool_)
    if column.kind == "string":
        return values.to_numpy(dtype=np.str_)
    numbers = values.to_numpy()
    return numbers.astype(np.int64) if _is_whole(values) else numbers


def _is_whole(values: pd.Series) -> bool:
    numbers = values.to_numpy(dtype=np.float64)
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() and (abs(numbers) < 2**53).all())


def _invalid(name: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, [Problem(f"column {name}", code, detail)])
