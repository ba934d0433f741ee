"""From parts and options to everything a search needs, or a clear refusal."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.kit.near_names import check_column
from tidemill.schemas.experiments import TrainingOptions
from tidemill.training.candidates import Setting
from tidemill.training.columns import Features, check_finite, choose_features
from tidemill.training.findings import Finding
from tidemill.training.frames import Table, read_table
from tidemill.training.leakage import LeakageInput, check_leakage
from tidemill.training.splits import Split, SplitPlan, check_group_column, check_time_column, make_split
from tidemill.training.targets import Target, make_target, metric_of, rows_with_target


@dataclass(frozen=True)
class Prepared:
    """``frame``, ``rows`` and ``target`` hold the rows whose target is known; ``rows`` are positions in the dataset."""

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]
    target: Target
    features: Features
    split: Split
    setting: Setting
    findings: list[Finding]


def prepare(parts: list[Path], options: TrainingOptions, threads: int) -> Prepared:
    """Read, check, split. Raises Invalid naming the column and what is wrong with it."""
    return prepare_table(read_table(parts), options, threads)


def prepare_table(table: Table, options: TrainingOptions, threads: int) -> Prepared:
    """As `prepare`, for a table that was read."""
    _check_names(table, options)
    rows = rows_with_target(table, options.target)
    used = [name for name in table.columns if name not in options.exclude]
    check_finite(table, dict.fromkeys([options.target, *used]))
    target, findings = make_target(table.frame[options.target].iloc[rows], table.columns[options.target], options.task)
    metric = metric_of(target.task, options.metric)
    if (missing := len(table.frame) - len(rows)) > 0:
        detail = f"{missing} of {len(table.frame)} rows have no target and were left out."
        findings.append(Finding("target_missing_rows", "warning", detail, (options.target,)))
    split = make_split(target, _plan(table, rows, options))
    features, noticed = _features(table, rows, options)
    frame = table.frame.iloc[rows].reset_index(drop=True)[features.names]
    findings += noticed
    findings += check_leakage(LeakageInput(frame, target, features, split, options.seed))
    setting = Setting(
        task=target.task,
        metric=metric,
        rows=len(split.development),
        categories=tuple(range(len(features.of("string")))),
        non_negative=target.task == "regression" and bool(target.codes.min() >= 0),
        threads=threads,
        seed=options.seed,
    )
    return Prepared(frame, rows, target, features, split, setting, findings)


def _check_names(table: Table, options: TrainingOptions) -> None:
    known = [*table.columns, *table.unsupported]
    check_column(options.target, table.columns, "target")
    for what, name in (("time", options.time_column), ("group", options.group_column)):
        if name is not None:
            check_column(name, table.columns, what)
    for name in options.exclude:
        check_column(name, known, "excluded")


def _plan(table: Table, rows: npt.NDArray[np.int64], options: TrainingOptions) -> SplitPlan:
    if options.time_column is not None:
        values = table.frame[options.time_column].iloc[rows].reset_index(drop=True)
        check_time_column(values, table.columns[options.time_column])
        return SplitPlan(options.seed, options.holdout_share, "time", values)
    if options.group_column is not None:
        values = table.frame[options.group_column].iloc[rows].reset_index(drop=True)
        check_group_column(values, table.columns[options.group_column])
        return SplitPlan(options.seed, options.holdout_share, "group", values)
    return SplitPlan(options.seed, options.holdout_share)


def _features(table: Table, rows: npt.NDArray[np.int64], options: TrainingOptions) -> tuple[Features, list[Finding]]:
    left_out = [options.target, *options.exclude]
    if options.group_column is not None:
        left_out.append(options.group_column)
    kept, findings = choose_features(table, rows, left_out)
    if options.group_column is not None:
        detail = "The group column divides the rows and is no feature."
        findings.append(Finding("group_column_left_out", "info", detail, (options.group_column,)))
    trendless = (options.time_column,) if options.time_column is not None else ()
    return Features(tuple(kept), trendless), findings
