"""The paired bootstrap: is one model better than another on the same rows?

Both models are scored on the same resamples of the rows, so what makes a row hard for both cancels out (paired
nonparametric bootstrap with percentile intervals: Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapters 8 and 13). A resample is a vector of weights, how often each row was drawn; a statistic takes many at once.
Rows that belong together are drawn together (cluster bootstrap: Davison and Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8), or the intervals would be too narrow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tidemill.evaluation import statistics
from tidemill.evaluation.statistics import Floats, Scores
from tidemill.kit.errors import Invalid
from tidemill.kit.metrics import higher_is_better

_CHUNK_VALUES = 200_000
"""Weights made at a time: few enough for a processor's cache, which is three times as fast as main memory."""
_MOST_UNDEFINED = 0.05
_FEWEST_GROUPS = 5

Statistic = Callable[[Floats], Floats]
"""From weights (resamples x rows) to one value per resample."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second, signed so that positive means that the first is better; with its interval."""

    metric: str
    value: float
    other_value: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made. The same settings give the same intervals.

    groups: one number a row; rows of the same number are drawn together. Without it every row is drawn alone.
    """

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0
    groups: npt.NDArray[np.int64] | None = field(default=None, compare=False, repr=False)


def paired_difference(metric: str, truth: Floats, first: Scores, second: Scores, bootstrap: Bootstrap) -> Difference:
    """Compare two models by one metric on the same n rows.

    ``truth`` is n numbers, or n class positions for classification. Raises Invalid for a metric that the scores do
    not allow, or that is undefined (one class only, say) on the rows or on more than 5% of the resamples.
    """
    one, two = statistics.statistic(metric, truth, first), statistics.statistic(metric, truth, second)
    whole = np.ones((1, len(truth)))
    value, other = float(one(whole)[0]), float(two(whole)[0])
    sign = 1.0 if higher_is_better(metric) else -1.0
    drawn = np.concatenate([sign * (one(weights) - two(weights)) for weights in weights_of(len(truth), bootstrap)])
    low, high = _ends(metric, np.array([value, other]), drawn, bootstrap)
    return Difference(metric, value, other, sign * (value - other), low, high)


def interval(metric: str, truth: Floats, scores: Scores, bootstrap: Bootstrap) -> tuple[float, float, float]:
    """Value, low and high of one model's metric. Raises Invalid where `paired_difference` does."""
    statistic = statistics.statistic(metric, truth, scores)
    value = float(statistic(np.ones((1, len(truth))))[0])
    drawn = np.concatenate([statistic(weights) for weights in weights_of(len(truth), bootstrap)])
    low, high = _ends(metric, np.array([value]), drawn, bootstrap)
    return value, low, high


def _ends(metric: str, whole: Floats, drawn: Floats, bootstrap: Bootstrap) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(whole).all() or len(drawn) < (1 - _MOST_UNDEFINED) * bootstrap.resamples:
        raise Invalid("metric_undefined", f"The metric {metric} is undefined on these rows.")
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def enough_groups(groups: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    """The groups if there are enough of them to resample; None means resampling single rows, the next best."""
    return None if groups is None or len(np.unique(groups)) < _FEWEST_GROUPS else groups


def weights_of(rows: int, bootstrap: Bootstrap, chunk_values: int = _CHUNK_VALUES) -> Iterator[Floats]:
    """How often each row was drawn: resamples x rows, a chunk of resamples at a time to bound the memory."""
    generator = np.random.default_rng(bootstrap.seed)
    per_chunk = max(1, min(bootstrap.resamples, chunk_values // max(rows, 1)))
    group = None if bootstrap.groups is None else np.unique(bootstrap.groups, return_inverse=True)[1]
    for start in range(0, bootstrap.resamples, per_chunk):
        count = min(per_chunk, bootstrap.resamples - start)
        yield np.stack([_draw(generator, rows, group) for _ in range(count)])


def _draw(generator: np.random.Generator, rows: int, group: npt.NDArray[np.intp] | None) -> npt.NDArray[np.float64]:
    many = rows if group is None else int(group.max()) + 1
    drawn = np.bincount(generator.integers(0, many, many), minlength=many).astype(np.float64)
    return drawn if group is None else drawn[group]
