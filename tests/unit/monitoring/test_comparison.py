"""Live beside holdout: differences, verdicts, and the labels that are still needed."""

import math

import numpy as np
import pytest

from tidemill.evaluation.comparison import Estimate, difference_of_independent, judge
from tidemill.evaluation.distribution import compare_samples
from tidemill.evaluation.intervals import intervals
from tidemill.evaluation.resampling import Bootstrap
from tidemill.evaluation.statistics import Scores, statistic


def test_the_interval_of_a_difference_joins_both_intervals() -> None:
    found = difference_of_independent(Estimate(0.8, 0.77, 0.82), Estimate(0.9, 0.86, 0.91))
    assert found.value == pytest.approx(-0.1)
    assert found.low == pytest.approx(-0.1 - math.hypot(0.03, 0.01))
    assert found.high == pytest.approx(-0.1 + math.hypot(0.02, 0.04))


def test_coverage_of_the_difference_is_near_its_level() -> None:
    """Means of two independent samples: about 95% of the intervals must hold the true difference."""
    random, hits, rounds = np.random.default_rng(0), 0, 2_000
    for _ in range(rounds):
        ends = []
        for mean, rows in ((0.3, 200), (0.5, 800)):
            value = random.binomial(rows, mean) / rows
            half = 1.96 * math.sqrt(value * (1 - value) / rows)
            ends.append(Estimate(value, value - half, value + half))
        found = difference_of_independent(ends[0], ends[1])
        hits += found.low <= -0.2 <= found.high
    assert 0.935 <= hits / rounds <= 0.965


@pytest.mark.parametrize(
    ("metric", "live", "holdout", "verdict"),
    [
        ("roc_auc", Estimate(0.90, 0.89, 0.91), Estimate(0.91, 0.90, 0.92), "within"),
        ("roc_auc", Estimate(0.80, 0.79, 0.81), Estimate(0.91, 0.90, 0.92), "below"),
        ("roc_auc", Estimate(0.95, 0.94, 0.96), Estimate(0.91, 0.90, 0.92), "above"),
        ("roc_auc", Estimate(0.88, 0.70, 0.99), Estimate(0.91, 0.90, 0.92), "not_enough_labels"),
        ("rmse", Estimate(12.0, 11.5, 12.5), Estimate(10.0, 9.8, 10.2), "below"),
        ("rmse", Estimate(8.0, 7.8, 8.2), Estimate(10.0, 9.8, 10.2), "above"),
        ("rmse", Estimate(10.1, 9.7, 10.5), Estimate(10.0, 9.8, 10.2), "within"),
    ],
)
def test_verdicts(metric: str, live: Estimate, holdout: Estimate, verdict: str) -> None:
    assert judge(metric, live, holdout, 100).verdict == verdict


def test_the_labels_needed_shrink_the_interval_to_the_tolerance() -> None:
    live, holdout = Estimate(0.88, 0.78, 0.98), Estimate(0.90, 0.88, 0.92)
    needed = judge("accuracy", live, holdout, 100).labels_needed
    assert needed is not None
    half = 0.1 * math.sqrt(100 / needed)
    narrower = Estimate(0.88, 0.88 - half, 0.88 + half)
    assert judge("accuracy", narrower, holdout, needed).verdict == "within"


def test_no_number_of_labels_helps_against_a_holdout_that_is_too_small() -> None:
    judgement = judge("accuracy", Estimate(0.88, 0.78, 0.98), Estimate(0.90, 0.80, 1.0), 100)
    assert (judgement.verdict, judgement.labels_needed) == ("not_enough_labels", None)


def test_samples_of_one_distribution_are_alike_and_shifted_ones_are_not() -> None:
    random = np.random.default_rng(1)
    same = compare_samples(random.normal(size=2_000), random.normal(size=3_000))
    moved = compare_samples(random.normal(size=2_000), random.normal(0.5, size=3_000))
    few = compare_samples(random.normal(size=40), random.normal(size=40))
    assert (same.differs, same.conclusive) == (False, True)
    assert moved.differs
    assert (few.differs, few.conclusive) == (False, False)


def test_the_statistic_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(2)
    first, second = random.integers(0, 5, 300).astype(float), random.integers(0, 6, 200).astype(float)
    assert compare_samples(first, second).statistic == pytest.approx(stats.ks_2samp(first, second).statistic)


def test_intervals_are_repeatable_hold_the_value_and_leave_out_what_is_undefined() -> None:
    random = np.random.default_rng(3)
    truth, score = random.integers(0, 2, 300).astype(float), random.random(300)
    scores = Scores((score > 0.5).astype(float), np.stack([1 - score, score], axis=1))
    metrics = {name: statistic(name, truth, scores) for name in ("roc_auc", "log_loss", "f1")}
    first, second = (intervals(metrics, 300, Bootstrap(1000, seed=4)) for _ in range(2))
    assert first == second
    for value, ends in first.values():
        assert ends is not None
        assert ends.low < value < ends.high
    one_class = {"roc_auc": statistic("roc_auc", np.ones(300), scores)}
    assert intervals(one_class, 300, Bootstrap(1000)) == {}
