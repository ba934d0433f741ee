"""Bootstrap intervals of several metrics at once, on the same resamples of the rows."""

from collections.abc import Mapping

import numpy as np

from tidemill.evaluation.comparison import Estimate
from tidemill.evaluation.resampling import Bootstrap, weights_of
from tidemill.evaluation.statistics import Floats, Statistic

_CHUNK_VALUES = 2_000_000
_MOST_UNDEFINED = 0.05


def intervals(
    metrics: Mapping[str, Statistic], rows: int, bootstrap: Bootstrap
) -> dict[str, tuple[float, Estimate | None]]:
    """Value and percentile interval of each metric on ``rows`` rows.

    Nonparametric bootstrap with percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). A metric that is undefined on the rows is left out; one that is undefined on more than 5% of the
    resamples has no interval.
    """
    whole = np.ones((1, rows))
    values = {name: float(statistic(whole)[0]) for name, statistic in metrics.items()}
    defined = {name: metrics[name] for name, value in values.items() if np.isfinite(value)}
    drawn: dict[str, list[Floats]] = {name: [] for name in defined}
    for weights in weights_of(rows, bootstrap, _CHUNK_VALUES):
        for name, statistic in defined.items():
            drawn[name].append(statistic(weights))
    return {name: (values[name], ends_of(values[name], np.concatenate(drawn[name]), bootstrap)) for name in defined}


def drawn_values(statistic: Statistic, rows: int, bootstrap: Bootstrap) -> Floats:
    """The statistic on each resample of the rows."""
    return np.concatenate([statistic(weights) for weights in weights_of(rows, bootstrap, _CHUNK_VALUES)])


def ends_of(value: float, drawn: Floats, bootstrap: Bootstrap) -> Estimate | None:
    """The value with its percentile interval; None where it is undefined on more than 5% of the resamples."""
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < (1 - _MOST_UNDEFINED) * bootstrap.resamples:
        return None
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))
