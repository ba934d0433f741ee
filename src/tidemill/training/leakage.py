"""Checks for features that know the target, and rows that are on both sides of the split.

A feature that alone predicts the target nearly perfectly is seldom known before the target is; see Kaufman et al.,
Leakage in Data Mining, 2012.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tidemill.evaluation.statistics import Floats, Scores, metric_value
from tidemill.training.columns import Features
from tidemill.training.findings import Finding, Severity
from tidemill.training.splits import Split
from tidemill.training.targets import Target
from tidemill.training.transformers import within_bounds

_SAMPLE_ROWS = 20_000
_ALONE = 0.90
_ALONE_SURE = 0.999
_EXACT = 1 - 1e-6
_MOST_COLUMNS = 300
_MOSTLY_KNOWN = 0.5
_CONSTANT = 1e-15
"""Deviation of a column of ones that is all rounding."""
_DUPLICATES_NOTED = 0.01
_DUPLICATES_WARNED = 0.05


@dataclass(frozen=True)
class LeakageInput:
    """``frame`` and ``target`` have the same n rows."""

    frame: pd.DataFrame
    target: Target
    features: Features
    split: Split
    seed: int


def check_leakage(given: LeakageInput) -> list[Finding]:
    """Every suspicion, worst first."""
    rng = np.random.default_rng(given.seed)
    rows = given.split.development
    if len(rows) > _SAMPLE_ROWS:
        rows = np.sort(rng.choice(rows, _SAMPLE_ROWS, replace=False))
    sample, codes = given.frame.iloc[rows], given.target.codes[rows]
    findings = [
        *_single_columns(sample, codes, given, rng),
        *_linear_combination(sample, codes, given),
        *_duplicates(given),
        *_time_hint(given),
    ]
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _single_columns(
    sample: pd.DataFrame, codes: Floats, given: LeakageInput, rng: np.random.Generator
) -> Iterator[Finding]:
    half = rng.permutation(len(codes))
    fitted, tested = half[: len(half) // 2], half[len(half) // 2 :]
    if given.target.task != "regression" and len(np.unique(codes[fitted])) < len(given.target.classes):
        return
    for name in given.features.names[:_MOST_COLUMNS]:
        strength = _strength_alone(_as_numbers(sample[name])[:, None], codes, (fitted, tested), given)
        if strength >= _ALONE:
            what = "R2" if given.target.task == "regression" else "Gini coefficient (2 AUC - 1)"
            sure = " It is most likely not known before the target is." if strength >= _ALONE_SURE else ""
            detail = f"Column {name} alone predicts the target: {what} {strength:.3f}.{sure} Exclude it if it leaks."
            yield Finding("column_predicts_target", "warning", detail, (name,))


def _strength_alone(
    values: Floats, codes: Floats, halves: tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", ...], given: LeakageInput
) -> float:
    """Of a small tree on one column, out of sample: R2, or 2 AUC - 1; 1 is perfect and 0 useless."""
    fitted, tested = halves
    if given.target.task == "regression":
        tree = DecisionTreeRegressor(max_depth=8, min_samples_leaf=5, random_state=given.seed)
        tree.fit(values[fitted], codes[fitted])
        return metric_value("r2", codes[tested], Scores(tree.predict(values[tested])))
    tree = DecisionTreeClassifier(max_depth=8, min_samples_leaf=5, random_state=given.seed)
    tree.fit(values[fitted], codes[fitted])
    probabilities = tree.predict_proba(values[tested])
    value = metric_value("roc_auc", codes[tested], Scores(probabilities.argmax(axis=1).astype(float), probabilities))
    return 2 * value - 1 if np.isfinite(value) else 0.0


def _linear_combination(sample: pd.DataFrame, codes: Floats, given: LeakageInput) -> Iterator[Finding]:
    """Numeric columns whose weighted sum is the target, to within rounding. Columns of gaps leave no whole rows."""
    known = sample[given.features.numbers[:_MOST_COLUMNS]].notna().mean()
    names = [str(name) for name, share in known.items() if share >= _MOSTLY_KNOWN]
    complete = sample[names].notna().all(axis=1).to_numpy() if names else np.zeros(0, dtype=bool)
    if given.target.task != "regression" or complete.sum() < 3 * len(names) or not names:
        return
    numbers, wanted = within_bounds(sample.loc[complete, names].to_numpy(dtype=np.float64)), codes[complete]
    if _explained(numbers, wanted) < _EXACT:
        return
    needed = [
        name for position, name in enumerate(names) if _explained(np.delete(numbers, position, 1), wanted) < _EXACT
    ]
    if needed:
        listed = " and ".join(needed)
        detail = f"The target is a weighted sum of {listed}: together they give it exactly. Exclude them."
        yield Finding("columns_sum_to_target", "error", detail, tuple(needed))


def _explained(numbers: Floats, wanted: Floats) -> float:
    """R2 of least squares with intercept; 0 where there is nothing to explain."""
    target = _standardised(wanted)
    if not target.any():
        return 0.0
    design = _standardised(numbers)
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    return 1 - float(((target - design @ solution) ** 2).mean())


def _standardised(values: Floats) -> Floats:
    """Of mean 0 and variance 1, by column; constants become 0.

    Least squares takes what is small beside the largest column for rounding, as prices are beside long numbers.
    """
    largest = np.abs(values).max(axis=0)
    scaled = values / np.where(largest > 0, largest, 1)
    centred = scaled - scaled.mean(axis=0)
    spread = centred.std(axis=0)
    moves = spread > _CONSTANT
    return np.asarray(np.where(moves, centred / np.where(moves, spread, 1), 0))


def _duplicates(given: LeakageInput) -> Iterator[Finding]:
    frame = given.frame[given.features.names]
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    twins = np.isin(hashes[given.split.holdout], hashes[given.split.development])
    share = float(twins.mean())
    if share >= _DUPLICATES_NOTED:
        severity: Severity = "warning" if share >= _DUPLICATES_WARNED else "info"
        detail = (
            f"{int(twins.sum())} of {len(twins)} holdout rows ({share:.1%}) have the same features as a training row; "
            "if they are copies of one case, the holdout flatters the model. A group column keeps them together."
        )
        yield Finding("duplicates_across_split", severity, detail)


def _time_hint(given: LeakageInput) -> Iterator[Finding]:
    times = given.features.of("datetime")
    if given.split.scheme == "random" and times:
        detail = (
            f"The rows carry times ({', '.join(times[:5])}) but are split at random. If the model will predict the "
            "future, split by time, or it looks better than it is."
        )
        yield Finding("time_column_unused", "info", detail, tuple(times[:5]))


def _as_numbers(values: pd.Series) -> Floats:
    if values.dtype.kind in "fiub":
        return within_bounds(values.to_numpy(dtype=np.float64))
    if values.dtype.kind == "M":
        return values.to_numpy(dtype="datetime64[s]").astype(np.float64)
    codes, _ = pd.factorize(values)
    return codes.astype(np.float64)
