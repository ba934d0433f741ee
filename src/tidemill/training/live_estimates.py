"""Metrics of labelled ledger rows, with their intervals."""

import numpy as np

from tidemill.evaluation import statistics
from tidemill.evaluation.comparison import Estimate
from tidemill.evaluation.intervals import intervals
from tidemill.evaluation.resampling import Bootstrap
from tidemill.evaluation.statistics import Scores, Statistic
from tidemill.kit.metrics import METRICS
from tidemill.schemas.monitoring import Interval
from tidemill.training.live_rows import Columns, ServedModel

_GREATEST_ERROR = 1e300
"""Differences of metrics beyond it may be beyond any float."""


def estimate(
    rows: Columns, model: ServedModel, seed: int, resamples: int, only: str | None = None
) -> dict[str, Interval]:
    """Each metric of the model's task that can be computed on ``rows``, all of which have a truth."""
    usable = rows.where(_usable(rows, model))
    if len(usable) == 0:
        return {}
    with np.errstate(over="ignore", invalid="ignore"):  # a metric whose squares are beyond any float is left out
        found = _measured(usable, model, Bootstrap(resamples=resamples, seed=seed), only)
    return {
        name: Interval(value=value, low=ends.low if ends else None, high=ends.high if ends else None)
        for name, (value, ends) in found.items()
        if abs(value) < _GREATEST_ERROR
    }


def _measured(
    usable: Columns, model: ServedModel, bootstrap: Bootstrap, only: str | None
) -> dict[str, tuple[float, Estimate | None]]:
    scores = _scores(usable, model)
    names = [name for name in METRICS.get(model.task or "", ()) if only in (None, name)]
    chosen = {
        name: _statistic(name, usable, scores)
        for name in names
        if statistics.is_scorable(name, scores)
        and statistics.is_comparable(name, usable.truth, len(model.classes or ()))
    }
    return intervals(chosen, len(usable), bootstrap)


def usable_rows(rows: Columns, model: ServedModel) -> int:
    """How many of ``rows``, all of which have a truth, the metrics can be computed of."""
    return int(_usable(rows, model).sum())


def _usable(rows: Columns, model: ServedModel) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Rows with a prediction that the metrics can be computed of."""
    return np.isfinite(rows.scores) if model.task == "regression" else rows.predicted >= 0


def _scores(rows: Columns, model: ServedModel) -> Scores:
    if model.task == "regression":
        return Scores(rows.scores)
    probabilities = None if rows.probabilities is None else rows.probabilities.astype(np.float64)
    return Scores(rows.predicted.astype(np.float64), probabilities)


def _statistic(name: str, rows: Columns, scores: Scores) -> Statistic:
    return statistics.statistic(name, rows.truth, scores)
