"""From parts and options to everything a search needs, or a clear refusal."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.evaluation.resampling import enough_groups
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.near_names import check_column
from tidemill.schemas.experiments import TrainingOptions
from tidemill.training.candidates import Setting
from tidemill.training.columns import Features, check_finite, check_times, choose_features
from tidemill.training.findings import Finding
from tidemill.training.frames import Table, read_table
from tidemill.training.leakage import LeakageInput, check_leakage
from tidemill.training.row_keys import value_keys
from tidemill.training.splits import Split, SplitPlan, check_group_column, check_time_column, make_split
from tidemill.training.targets import MAX_CLASSES_GUESSED, Target, make_target, metric_of, rows_with_target

_FEWEST_HELD_OUT = 10
"""Rows of each class, below which metrics are hardly known."""


@dataclass(frozen=True)
class Prepared:
    """``frame``, ``rows`` and ``target`` hold the rows whose target is known; ``rows`` are positions in the dataset.

    ``groups``: a number per row where the split goes by groups.
    """

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]
    target: Target
    features: Features
    split: Split
    setting: Setting
    findings: list[Finding]
    groups: npt.NDArray[np.int64] | None = None


def prepare(parts: list[Path], options: TrainingOptions, threads: int) -> Prepared:
    """Read, check, split. Raises Invalid naming the column and what is wrong with it."""
    return prepare_table(read_table(parts), options, threads)


def prepare_table(table: Table, options: TrainingOptions, threads: int) -> Prepared:
    """As `prepare`, for a table that was read."""
    _check_names(table, options)
    _check_exact(table, options)
    rows = rows_with_target(table, options.target)
    used = [name for name in table.columns if name not in options.exclude]
    check_finite(table, dict.fromkeys([options.target, *used]))
    check_times(table, used)
    target, findings = make_target(table.frame[options.target].iloc[rows], table.columns[options.target], options.task)
    metric = metric_of(target.task, options.metric)
    if (missing := len(table.frame) - len(rows)) > 0:
        detail = f"{missing} of {len(table.frame)} rows have no target and were left out."
        findings.append(Finding("target_missing_rows", "warning", detail, (options.target,)))
    plan = _plan(table, rows, options)
    split = make_split(target, plan)
    groups = np.unique(plan.by, return_inverse=True)[1] if plan.scheme == "group" and plan.by is not None else None
    features, noticed = _features(table, rows, options)
    frame = table.frame.iloc[rows].reset_index(drop=True)[features.names]
    findings += [*noticed, *_rare_class(target, split), *_few_groups(split, groups, options)]
    findings += check_leakage(LeakageInput(frame, target, features, split, options.seed))
    setting = Setting(
        task=target.task,
        metric=metric,
        rows=len(split.development),
        categories=tuple(range(len(features.of("string")))),
        # Judged without the holdout, as everything that the search sees.
        non_negative=target.task == "regression" and _counts_something(target, split),
        threads=threads,
        seed=options.seed,
    )
    return Prepared(frame, rows, target, features, split, setting, findings, groups)


def _counts_something(target: Target, split: Split) -> bool:
    """Whether the development rows could be counts: none negative, and not nothing but zeros in any part."""
    least = float(target.codes[split.development].min())
    return least >= 0 and all(target.codes[train].max() > 0 for train, _ in split.folds)


def _check_names(table: Table, options: TrainingOptions) -> None:
    known = [*table.columns, *table.unsupported]
    check_column(options.target, table.columns, "target")
    for what, name in (("time", options.time_column), ("group", options.group_column)):
        if name is not None:
            check_column(name, table.columns, what)
    for name in options.exclude:
        check_column(name, known, "excluded")


def _check_exact(table: Table, options: TrainingOptions) -> None:
    """What is told apart must be exact; features and quantities may be rounded, as learners round them too."""
    named = (("target", options.target), ("time", options.time_column), ("group", options.group_column))
    for what, name in named:
        if name in table.rounded and not (what == "target" and _is_quantity(table, options)):
            detail = (
                f"The {what} column {name} holds integers beyond 2**53 and missing values, with which it is one of "
                "floats that do not tell such integers apart. Leave out the rows without a value, or write it as text."
            )
            problem = Problem(f"column {name}", "integers_inexact", detail)
            raise Invalid("integers_inexact", detail, [problem])


def _is_quantity(table: Table, options: TrainingOptions) -> bool:
    """Few different values are taken for classes, unless somebody says otherwise."""
    few = int(table.frame[options.target].nunique()) <= MAX_CLASSES_GUESSED
    return options.task == "regression" or (options.task is None and not few)


def _plan(table: Table, rows: npt.NDArray[np.int64], options: TrainingOptions) -> SplitPlan:
    frame, seed, share = table.frame.iloc[rows], options.seed, options.holdout_share
    if options.time_column is not None:
        check_time_column(frame[options.time_column], table.columns[options.time_column])
        return SplitPlan(seed, share, "time", frame[options.time_column].to_numpy())
    if options.group_column is not None:
        check_group_column(frame[options.group_column], table.columns[options.group_column])
        return SplitPlan(seed, share, "group", value_keys(frame[options.group_column], seed))
    return SplitPlan(seed, share)


def _features(table: Table, rows: npt.NDArray[np.int64], options: TrainingOptions) -> tuple[Features, list[Finding]]:
    notes = list(_dividing_columns(table, options))
    left_out = [options.target, *options.exclude, *(name for note in notes for name in note.columns)]
    kept, findings = choose_features(table, rows, left_out)
    findings += notes
    trendless = (options.time_column,) if options.time_column is not None else ()
    return Features(tuple(kept), trendless), findings


def _dividing_columns(table: Table, options: TrainingOptions) -> Iterator[Finding]:
    """What divides the rows and tells nothing about rows to come. Of dates the calendar's parts stay features."""
    if options.group_column is not None:
        detail = "The group column divides the rows and is no feature."
        yield Finding("group_column_left_out", "info", detail, (options.group_column,))
    if options.time_column is not None and table.columns[options.time_column].kind != "datetime":
        detail = (
            "The time column holds running numbers, which later rows exceed; it divides the rows and is no feature."
        )
        yield Finding("time_column_left_out", "info", detail, (options.time_column,))


def _rare_class(target: Target, split: Split) -> Iterator[Finding]:
    if target.task == "regression":
        return
    fewest = int(np.bincount(target.codes[split.holdout].astype(np.int64), minlength=len(target.classes)).min())
    if fewest < _FEWEST_HELD_OUT:
        detail = (
            f"The holdout has {fewest} rows of the target's rarest class: metrics that depend on it are uncertain, and "
            "those that are undefined on many resamples have no interval and are left out."
        )
        yield Finding("class_rare", "warning", detail, (target.name,))


def _few_groups(split: Split, groups: npt.NDArray[np.int64] | None, options: TrainingOptions) -> Iterator[Finding]:
    if groups is None or options.group_column is None or enough_groups(groups[split.holdout]) is not None:
        return
    many = len(np.unique(groups[split.holdout]))
    detail = (
        f"The holdout has {many} groups of the column {options.group_column}, too few to resample: intervals of "
        "metrics take its rows for independent and are too narrow."
    )
    yield Finding("groups_few", "warning", detail, (options.group_column,))
