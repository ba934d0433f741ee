"""What is said about the winner on the holdout: metrics, curves, calibration, errors, importance; all as plain data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from tidemill.evaluation.intervals import intervals
from tidemill.evaluation.resampling import Bootstrap, enough_groups
from tidemill.evaluation.statistics import Floats, Scores, is_comparable, metric_value, statistic
from tidemill.kit.metrics import METRICS, higher_is_better
from tidemill.training.candidates import Setting
from tidemill.training.columns import Features
from tidemill.training.fitting import scores_of
from tidemill.training.targets import Target

RESAMPLES = 1000
_MAX_CURVE_POINTS = 200
_MAX_SCATTER_POINTS = 1000
_CALIBRATION_BINS = 10
_IMPORTANCE_ROWS = 4000
_IMPORTANCE_ROWS_LEAST = 500
_IMPORTANCE_TREE_ROWS = 1_500_000
_IMPORTANCE_REPEATS = 3
_MAX_IMPORTANCE_COLUMNS = 200
_MAX_CURVE_CLASSES = 10

Data = dict[str, Any]


def holdout_metrics(
    target: Target, truth: Floats, scores: Scores, seed: int, groups: npt.NDArray[np.int64] | None = None
) -> dict[str, dict[str, float]]:
    """Every metric of the task with its 95% interval, by name. Rows of the same of ``groups`` are drawn together.

    One that live rows could not be compared with is left out, as are those without an interval.
    """
    names = [metric for metric in METRICS[target.task] if is_comparable(metric, truth, len(target.classes))]
    measures = {metric: statistic(metric, truth, scores) for metric in names}
    found = intervals(measures, len(truth), Bootstrap(RESAMPLES, seed=seed, groups=enough_groups(groups)))
    return {name: asdict(estimate) for name, (_, estimate) in found.items() if estimate is not None}


def figure_data(target: Target, truth: Floats, scores: Scores, seed: int) -> Data:
    """The data behind every figure of the task but importance."""
    if target.task == "regression":
        return {"residuals": _residuals(truth, scores.prediction, seed)}
    assert scores.probabilities is not None
    known = {
        "confusion": _confusion(target, truth, scores.prediction),
        "calibration": _calibration(target, truth, scores.probabilities),
        "roc": _curves(target, truth, scores.probabilities, _roc),
        "precision_recall": _curves(target, truth, scores.probabilities, _precision_recall),
    }
    return {name: data for name, data in known.items() if data is not None}


def permutation_importance(
    pipeline: Any, frame: pd.DataFrame, truth: Floats, features: Features, setting: Setting
) -> list[Data]:
    """How much the metric suffers when a column is shuffled, largest first (Breiman, Random Forests, 2001).

    Measured on a sample of the holdout, smaller for models of many trees; ``low`` and ``high`` are the extremes over
    the shuffles.
    """
    rng = np.random.default_rng(setting.seed)
    most = min(_IMPORTANCE_ROWS, max(_IMPORTANCE_ROWS_LEAST, _IMPORTANCE_TREE_ROWS // _trees(pipeline)))
    rows = np.sort(rng.choice(len(frame), min(len(frame), most), replace=False))
    sample, wanted = frame.iloc[rows].reset_index(drop=True), truth[rows]
    sign = 1 if higher_is_better(setting.metric) else -1
    base = metric_value(setting.metric, wanted, scores_of(pipeline, sample, setting))
    found = []
    for name in features.names[:_MAX_IMPORTANCE_COLUMNS]:
        losses = []
        for _ in range(_IMPORTANCE_REPEATS):
            scores = scores_of(pipeline, _shuffled(sample, name, rng), setting)
            losses.append(sign * (base - metric_value(setting.metric, wanted, scores)))
        found.append({"column": name, "value": float(np.mean(losses)), "low": min(losses), "high": max(losses)})
    return sorted(found, key=lambda one: -float(one["value"]))


def _trees(pipeline: Any) -> int:
    parameters = pipeline.steps[-1][1].get_params()
    return max(1, int(parameters.get("n_estimators") or parameters.get("max_iter") or 1))


def _shuffled(sample: pd.DataFrame, name: str, rng: np.random.Generator) -> pd.DataFrame:
    column = sample[name].iloc[rng.permutation(len(sample))].reset_index(drop=True)
    return sample.assign(**{name: column})


def _confusion(target: Target, truth: Floats, prediction: Floats) -> Data:
    """Rows are true classes, columns predicted ones."""
    matrix = confusion_matrix(truth, prediction, labels=np.arange(len(target.classes)))
    return {"classes": list(target.classes), "matrix": matrix.tolist()}


def _calibration(target: Target, truth: Floats, probabilities: Floats) -> Data:
    """Observed share against mean probability in bins of equal count; for several classes, of the predicted class.

    ECE: expected calibration error (Naeini et al., Obtaining Well Calibrated Probabilities, 2015).
    """
    if target.task == "binary":
        said, happened = probabilities[:, 1], truth == 1
    else:
        said, happened = probabilities.max(axis=1), truth == probabilities.argmax(axis=1)
    observed, mean = calibration_curve(happened, said, n_bins=_CALIBRATION_BINS, strategy="quantile")
    return {
        "of": "positive class" if target.task == "binary" else "predicted class",
        "class": target.classes[1] if target.task == "binary" else None,
        "mean_probability": mean.tolist(),
        "observed_share": observed.tolist(),
        "expected_calibration_error": _calibration_error(said, happened),
    }


def _calibration_error(said: Floats, happened: npt.NDArray[np.bool_]) -> float:
    order = np.argsort(said, kind="stable")
    bins = [part for part in np.array_split(order, _CALIBRATION_BINS) if len(part)]
    gaps = [abs(said[part].mean() - happened[part].mean()) * len(part) for part in bins]
    return float(sum(gaps) / len(said))


def _curves(target: Target, truth: Floats, probabilities: Floats, curve: Any) -> Data | None:
    """One curve for the second of two classes; else one against the rest for each of the first classes."""
    positions = [1] if target.task == "binary" else range(min(len(target.classes), _MAX_CURVE_CLASSES))
    found = [
        {"class": target.classes[position], **curve(truth == position, probabilities[:, position])}
        for position in positions
        if 0 < (truth == position).sum() < len(truth)
    ]
    return {"curves": found} if found else None


def _roc(positive: npt.NDArray[np.bool_], score: Floats) -> Data:
    false_rate, true_rate, _ = roc_curve(positive, score)
    return {"false_positive_rate": _thinned(false_rate), "true_positive_rate": _thinned(true_rate)}


def _precision_recall(positive: npt.NDArray[np.bool_], score: Floats) -> Data:
    precision, recall, _ = precision_recall_curve(positive, score)
    return {"recall": _thinned(recall), "precision": _thinned(precision), "share_positive": float(positive.mean())}


def _residuals(truth: Floats, prediction: Floats, seed: int) -> Data:
    residual = truth - prediction
    rng = np.random.default_rng(seed)
    shown = np.sort(rng.choice(len(truth), min(len(truth), _MAX_SCATTER_POINTS), replace=False))
    counts, edges = np.histogram(residual, bins=40)
    percents = (1, 5, 25, 50, 75, 95, 99)
    quantiles = {f"p{percent:02d}": float(np.percentile(residual, percent)) for percent in percents}
    return {
        "truth": truth[shown].tolist(),
        "prediction": prediction[shown].tolist(),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "quantiles": quantiles,
    }


def _thinned(values: Sequence[float] | Floats) -> list[float]:
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) <= _MAX_CURVE_POINTS:
        return list(numbers.tolist())
    kept = np.linspace(0, len(numbers) - 1, _MAX_CURVE_POINTS).round().astype(int)
    return [float(value) for value in numbers[kept]]
