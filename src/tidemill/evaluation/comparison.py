"""Live metrics beside holdout metrics: the difference of two independent estimates, and what to make of it."""

import math
from dataclasses import dataclass
from typing import Literal

from tidemill.kit.metrics import higher_is_better

Verdict = Literal["within", "below", "above", "not_enough_labels", "no_holdout"]

SCORE_TOLERANCE = 0.05
"""How far a score between 0 and 1 may fall before it matters."""
ERROR_TOLERANCE_SHARE = 0.10
"""How far an error may grow before it matters, as a share of its holdout value."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its interval, in the metric's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """``difference`` is live minus holdout. ``labels_needed`` are labels in all; None if more would not decide it."""

    verdict: Verdict
    difference: Estimate
    tolerance: float
    labels_needed: int | None


def difference_of_independent(first: Estimate, second: Estimate) -> Estimate:
    """``first - second`` with an interval from both intervals, which need not be symmetric.

    The method of variance estimates recovery: Zou and Donner, Construction of confidence limits about effect measures,
    Statistics in Medicine 27 (2008).
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above)


def tolerance_of(metric: str, holdout_value: float) -> float:
    """The change of ``metric`` that matters, in its own unit."""
    return abs(holdout_value) * ERROR_TOLERANCE_SHARE if not higher_is_better(metric) else SCORE_TOLERANCE


def judge(metric: str, live: Estimate, holdout: Estimate, labels: int) -> Judgement:
    """Whether the live value is measurably below (worse than) or above (better than) the holdout value.

    ``within`` means that the interval of the difference holds zero and is narrow enough to have shown a change of
    `tolerance_of` the metric; where it is wider, there are not enough labels.
    """
    difference = difference_of_independent(live, holdout)
    tolerance = tolerance_of(metric, holdout.value)
    worse, better = difference.high < 0, difference.low > 0
    if not higher_is_better(metric):
        worse, better = better, worse
    if worse or better:
        return Judgement("below" if worse else "above", difference, tolerance, None)
    if (difference.high - difference.low) / 2 <= tolerance:
        return Judgement("within", difference, tolerance, None)
    return Judgement("not_enough_labels", difference, tolerance, _labels_needed(live, holdout, labels, tolerance))


def _labels_needed(live: Estimate, holdout: Estimate, labels: int, tolerance: float) -> int | None:
    """Labels at which the half-width would be ``tolerance``: the live part shrinks with the root of their number."""
    live_half, holdout_half = (live.high - live.low) / 2, (holdout.high - holdout.low) / 2
    if holdout_half >= tolerance:
        return None
    # As shares of the tolerance, since squares of great errors are beyond any float.
    live_share, holdout_share = live_half / tolerance, holdout_half / tolerance
    needed = labels * live_share * live_share / (1 - holdout_share * holdout_share)
    return max(labels + 1, math.ceil(needed)) if math.isfinite(needed) else None
