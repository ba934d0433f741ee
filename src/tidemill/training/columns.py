"""Which columns become features, and in which role."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tidemill.kit.errors import Invalid, Problem
from tidemill.training.findings import Finding
from tidemill.training.frames import Column, Table
from tidemill.training.transformers import GREATEST_FEATURE

_ID_LIKE_SHARE = 0.95
_FEWEST_ROWS_OF_IDS = 100
_MOST_NAMED = 100


@dataclass(frozen=True)
class Features:
    """Features by role. ``trendless`` datetimes give no year and no running time, which a later period never saw."""

    columns: tuple[Column, ...]
    trendless: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def of(self, *kinds: str) -> list[str]:
        return [column.name for column in self.columns if column.kind in kinds]

    @property
    def numbers(self) -> list[str]:
        return self.of("integer", "float")


def choose_features(table: Table, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]", left_out: Sequence[str]) -> tuple[
    list[Column], list[Finding]
]:  # fmt: skip
    """All columns but those ``left_out`` (target, group, excluded), constants and identifiers, judged on ``rows``."""
    frame = table.frame.iloc[rows]
    kept: list[Column] = []
    dropped: dict[str, list[str]] = {"column_constant": [], "column_id_like": []}
    for column in table.columns.values():
        if column.name in left_out:
            continue
        reason = _reason_to_drop(frame[column.name], column)
        if reason is None:
            kept.append(column)
        else:
            dropped[reason].append(column.name)
    findings = [
        *_beyond_bounds(frame, kept),
        *_findings(dropped, [name for name in table.unsupported if name not in left_out]),
        *_unique_numbers(frame, kept),
    ]
    if not kept:
        problems = [
            Problem(f"column {name}", note.code, note.detail)
            for note in findings
            for name in note.columns[:_MOST_NAMED]
        ]
        raise Invalid("features_missing", "No column is left to learn from.", problems)
    return kept, findings


def check_finite(table: Table, names: Iterable[str]) -> None:
    """Raise Invalid (``values_infinite``) naming every column with an infinite number and its first row."""
    problems = []
    for name in names:
        if table.columns[name].kind != "float":
            continue
        infinite = np.flatnonzero(np.isinf(table.frame[name].to_numpy()))
        if len(infinite):
            detail = f"{len(infinite)} values are infinite, the first in row {infinite[0] + 1}."
            problems.append(Problem(f"row {infinite[0] + 1}, column {name}", "values_infinite", detail))
    if problems:
        names_found = ", ".join(problem.pointer.partition("column ")[2] for problem in problems[:20])
        raise Invalid("values_infinite", f"Infinite numbers cannot be learned from; columns: {names_found}.", problems)


def check_times(table: Table, names: Iterable[str]) -> None:
    """Raise Invalid (``times_out_of_range``) naming every column with a time that models cannot hold, and its row."""
    problems = [
        Problem(f"row {table.beyond[name] + 1}, column {name}", "times_out_of_range", "Not between 1678 and 2261.")
        for name in names
        if name in table.beyond
    ]
    if problems:
        detail = (
            "Times must lie between the years 1678 and 2261. Leave such times empty, or exclude their columns: "
            f"{', '.join(problem.pointer.partition('column ')[2] for problem in problems)}."
        )
        raise Invalid("times_out_of_range", detail, problems)


def _reason_to_drop(values: pd.Series, column: Column) -> str | None:
    distinct = values.nunique(dropna=True)
    if distinct < 2 and not (distinct == 1 and values.isna().any()):
        return "column_constant"
    known = int(values.notna().sum())
    if column.kind == "string" and distinct > _ID_LIKE_SHARE * known:
        return "column_id_like"
    if column.kind == "integer" and distinct == known and _counts_rows(values):
        return "column_id_like"
    return None


def _counts_rows(values: pd.Series) -> bool:
    """True for numbers that rise row by row by nearly one: a running number."""
    # The differences of 64-bit integers fit without their sign.
    steps = np.diff(np.sort(values.to_numpy(dtype=np.int64))).view(np.uint64)
    return bool(len(steps) > 0 and np.median(steps) == 1 and (steps == 1).mean() > _ID_LIKE_SHARE * 0.8)


def _unique_numbers(frame: pd.DataFrame, kept: Iterable[Column]) -> Iterable[Finding]:
    """Numbers like account numbers stay features, since quantities may look like them, but not silently."""
    names = [column.name for column in kept if column.kind in {"integer", "float"} and _all_whole(frame[column.name])]
    if names:
        detail = (
            f"Each row has a whole number of its own in: {', '.join(names)}. They are used; exclude them if they are "
            "identifiers."
        )
        yield Finding("column_id_like", "warning", detail, tuple(names))


def _beyond_bounds(frame: pd.DataFrame, kept: Iterable[Column]) -> Iterable[Finding]:
    names = [
        column.name
        for column in kept
        if column.kind == "float" and bool((frame[column.name].abs() > GREATEST_FEATURE).any())
    ]
    if names:
        detail = (
            f"Numbers beyond {GREATEST_FEATURE:.2g} count as that, since models tell none beyond apart: "
            f"{', '.join(names)}. Their logarithm would keep them apart."
        )
        yield Finding("values_beyond_range", "warning", detail, tuple(names))


def _all_whole(values: pd.Series) -> bool:
    known = values.dropna().to_numpy()
    different = len(known) >= _FEWEST_ROWS_OF_IDS and len(np.unique(known)) == len(known)
    return bool(different and (known.dtype.kind in "iu" or (known == np.floor(known)).all()))


def _findings(dropped: dict[str, list[str]], unsupported: list[str]) -> Iterable[Finding]:
    if names := dropped["column_constant"]:
        yield Finding("column_constant", "info", f"Constant columns were left out: {', '.join(names)}.", tuple(names))
    if names := dropped["column_id_like"]:
        detail = f"Columns that look like identifiers were left out: {', '.join(names)}."
        yield Finding("column_id_like", "warning", detail, tuple(names))
    if unsupported:
        detail = f"Columns of types that models cannot use were left out: {', '.join(unsupported)}."
        yield Finding("column_type_unsupported", "info", detail, tuple(unsupported))
