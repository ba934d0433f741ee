"""Metrics as functions of row weights, so that thousands of bootstrap resamples are a few matrix products.

Names, definitions and values (for equal weights) are scikit-learn's. ``roc_auc`` of several classes is the unweighted
mean of one-versus-rest. A mean over classes is undefined where the weights leave out one of those among the truths:
over fewer classes it would be another quantity.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidemill.kit.errors import Invalid

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

_NEEDS_PROBABILITIES = frozenset({"roc_auc", "average_precision", "log_loss", "brier"})


_OVER_CLASSES = frozenset({"roc_auc", "balanced_accuracy", "f1_macro"})


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model said about n rows.

    prediction: n numbers, or n class positions. probabilities: n x k, None for regression and for models without.
    """

    prediction: Floats
    probabilities: Floats | None = None


def is_scorable(metric: str, scores: Scores) -> bool:
    return metric not in _NEEDS_PROBABILITIES or scores.probabilities is not None


def is_comparable(metric: str, truth: Floats, class_count: int) -> bool:
    """Whether the metric on rows with these truths is the same quantity as on others.

    A mean over classes is only where each of the model's ``class_count`` classes is among the truths.
    """
    return metric not in _OVER_CLASSES or len(np.unique(truth)) == class_count


def statistic(metric: str, truth: Floats, scores: Scores) -> Statistic:
    """The metric of these scores as a function of weights. Raises Invalid if it is unknown or cannot be computed."""
    if not is_scorable(metric, scores):
        raise Invalid(
            "metric_needs_probabilities", f"The metric {metric} needs probabilities, which there are none of."
        )
    if metric in _BY_PROBABILITY:
        assert scores.probabilities is not None
        return _BY_PROBABILITY[metric](truth, scores.probabilities)
    if metric in _BY_PREDICTION:
        return _BY_PREDICTION[metric](truth, scores.prediction)
    raise Invalid("metric_unknown", f"There is no metric {metric}.")


def metric_value(metric: str, truth: Floats, scores: Scores) -> float:
    """The metric on these rows; NaN where it is undefined. Raises Invalid as `statistic` does."""
    return float(statistic(metric, truth, scores)(np.ones((1, len(truth))))[0])


def _mean_of(per_row: Floats) -> Statistic:
    return lambda weights: weights @ per_row / weights.sum(axis=1)


def _log_loss(truth: Floats, probabilities: Floats) -> Statistic:
    smallest = np.finfo(np.float64).eps
    clipped = np.clip(probabilities, smallest, 1 - smallest)
    clipped = clipped / clipped.sum(axis=1, keepdims=True)
    return _mean_of(-np.log(clipped[np.arange(len(truth)), truth.astype(np.intp)]))


def _brier(truth: Floats, probabilities: Floats) -> Statistic:
    if probabilities.shape[1] == 2:
        return _mean_of((probabilities[:, 1] - (truth == 1)) ** 2)
    hot = truth[:, None] == np.arange(probabilities.shape[1])
    return _mean_of(((probabilities - hot) ** 2).sum(axis=1))


def _roc_auc(truth: Floats, probabilities: Floats) -> Statistic:
    if probabilities.shape[1] == 2:
        return _binary_roc_auc(truth == 1, probabilities[:, 1])
    parts = [_binary_roc_auc(truth == c, probabilities[:, c]) for c in range(probabilities.shape[1])]
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)


def _binary_roc_auc(positive: npt.NDArray[np.bool_], score: Floats) -> Statistic:
    """Mann-Whitney's statistic: positives above negatives, ties count half."""
    order = np.argsort(score, kind="stable")
    starts = _group_starts(score[order])

    def area(weights: Floats) -> Floats:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * positive[order], starts, axis=1)
        negatives = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        wins = (positives * (below + negatives / 2)).sum(axis=1)
        return _ratio(wins, pairs)

    return area


def _average_precision(truth: Floats, probabilities: Floats) -> Statistic:
    order = np.argsort(-probabilities[:, 1], kind="stable")
    starts = _group_starts(probabilities[order, 1])
    positive = (truth == 1)[order]

    def average(weights: Floats) -> Floats:
        ordered = weights[:, order]
        all_ = np.add.reduceat(ordered, starts, axis=1).cumsum(axis=1)
        gained = np.add.reduceat(ordered * positive, starts, axis=1)
        precision = np.divide(gained.cumsum(axis=1), all_, out=np.zeros_like(all_), where=all_ > 0)
        return _ratio((gained * precision).sum(axis=1), gained.sum(axis=1))

    return average


def _group_starts(ordered: Floats) -> npt.NDArray[np.intp]:
    """Where each run of equal scores begins."""
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _accuracy(truth: Floats, prediction: Floats) -> Statistic:
    return _mean_of((truth == prediction).astype(np.float64))


def _balanced_accuracy(truth: Floats, prediction: Floats) -> Statistic:
    classes = np.unique(truth)
    hot = truth[:, None] == classes
    hits = hot & (prediction[:, None] == classes)

    def balanced(weights: Floats) -> Floats:
        present = weights @ hot.astype(np.float64)
        return np.asarray(_ratio(weights @ hits.astype(np.float64), present).mean(axis=1))

    return balanced


def _f1(truth: Floats, prediction: Floats) -> Statistic:
    per_class = _f1_of(truth, prediction, np.array([1.0]))
    return lambda weights: per_class(weights)[:, 0]


def _f1_macro(truth: Floats, prediction: Floats) -> Statistic:
    per_class = _f1_of(truth, prediction, np.unique(np.r_[truth, prediction]))
    hot = (truth[:, None] == np.unique(truth)).astype(np.float64)

    def mean(weights: Floats) -> Floats:
        has_all = (weights @ hot > 0).all(axis=1)
        return np.where(has_all, per_class(weights).mean(axis=1), np.nan)

    return mean


def _f1_of(truth: Floats, prediction: Floats, classes: Floats) -> Statistic:
    is_class = (truth[:, None] == classes).astype(np.float64)
    said_class = (prediction[:, None] == classes).astype(np.float64)

    def score(weights: Floats) -> Floats:
        both = weights @ (is_class * said_class)
        either = weights @ is_class + weights @ said_class
        return np.asarray(np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0))

    return score


def _mae(truth: Floats, prediction: Floats) -> Statistic:
    return _mean_of(np.abs(truth - prediction))


def _rmse(truth: Floats, prediction: Floats) -> Statistic:
    mean = _mean_of((truth - prediction) ** 2)
    return lambda weights: np.sqrt(mean(weights))


def _r2(truth: Floats, prediction: Floats) -> Statistic:
    centred = truth - truth.mean()  # keeps the difference of large sums exact

    def explained(weights: Floats) -> Floats:
        residual = weights @ (truth - prediction) ** 2
        total = weights @ centred**2 - (weights @ centred) ** 2 / weights.sum(axis=1)
        return 1 - _ratio(residual, total)

    return explained


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


_BY_PROBABILITY: dict[str, Callable[[Floats, Floats], Statistic]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
}
_BY_PREDICTION: dict[str, Callable[[Floats, Floats], Statistic]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
}
