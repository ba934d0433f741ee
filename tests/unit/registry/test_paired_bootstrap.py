"""The paired bootstrap against scikit-learn's metrics and against what must be true of it."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tidemill.evaluation.resampling import Bootstrap, paired_difference
from tidemill.evaluation.statistics import Scores, is_comparable, statistic
from tidemill.kit.errors import Invalid
from tidemill.kit.metrics import METRICS

ROWS = 400
RNG = np.random.default_rng(7)


def classification(classes: int) -> tuple[np.ndarray, Scores]:
    truth = RNG.integers(0, classes, ROWS).astype(float)
    raw = RNG.random((ROWS, classes)).round(1) + 0.05 + 0.6 * (truth[:, None] == np.arange(classes))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return truth, Scores(probabilities.argmax(axis=1).astype(float), probabilities)


def expected(metric: str, truth: np.ndarray, scores: Scores, weights: np.ndarray) -> float:
    p = scores.probabilities
    column = None if p is None else (p[:, 1] if p.shape[1] == 2 else p)
    several = {} if p is None or p.shape[1] == 2 else {"multi_class": "ovr"}
    by_name = {
        "roc_auc": lambda: sk.roc_auc_score(truth, column, sample_weight=weights, **several),
        "average_precision": lambda: sk.average_precision_score(truth, column, sample_weight=weights),
        "log_loss": lambda: sk.log_loss(truth, p, sample_weight=weights),
        "brier": lambda: sk.brier_score_loss(truth, column, sample_weight=weights),
        "accuracy": lambda: sk.accuracy_score(truth, scores.prediction, sample_weight=weights),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(truth, scores.prediction, sample_weight=weights),
        "f1": lambda: sk.f1_score(truth, scores.prediction, sample_weight=weights),
        "f1_macro": lambda: sk.f1_score(truth, scores.prediction, average="macro", sample_weight=weights),
        "rmse": lambda: sk.root_mean_squared_error(truth, scores.prediction, sample_weight=weights),
        "mae": lambda: sk.mean_absolute_error(truth, scores.prediction, sample_weight=weights),
        "r2": lambda: sk.r2_score(truth, scores.prediction, sample_weight=weights),
    }
    return float(by_name[metric]())


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task, names in METRICS.items() for metric in names])
def test_statistics_are_those_of_scikit_learn_for_any_weights(task: str, metric: str) -> None:
    if task == "regression":
        truth = RNG.normal(1000, 3, ROWS)
        scores = Scores(truth + RNG.normal(0, 1, ROWS))
    else:
        truth, scores = classification(2 if task == "binary" else 4)
    weights = np.stack([np.ones(ROWS), RNG.integers(0, 4, ROWS).astype(float)])
    got = statistic(metric, truth, scores)(weights)
    assert got == pytest.approx([expected(metric, truth, scores, row) for row in weights], rel=1e-9)


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy", "f1_macro"])
def test_a_mean_over_classes_is_undefined_on_a_resample_that_lacks_one(metric: str) -> None:
    truth, scores = classification(4)
    weights = np.stack([np.ones(ROWS), (truth != 2).astype(float)])
    whole, lacking = statistic(metric, truth, scores)(weights)
    assert (np.isfinite(whole), np.isnan(lacking)) == (True, True)
    assert [is_comparable(metric, truth[truth != 2], 4), is_comparable(metric, truth, 4)] == [False, True]
    assert is_comparable("accuracy", truth[truth != 2], 4)


def test_a_model_against_itself_differs_by_exactly_nothing() -> None:
    truth, scores = classification(2)
    found = paired_difference("roc_auc", truth, scores, scores, Bootstrap())
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_a_better_model_has_an_interval_above_zero_whichever_way_the_metric_points() -> None:
    truth = RNG.normal(0, 1, ROWS)
    good, bad = Scores(truth + RNG.normal(0, 0.2, ROWS)), Scores(RNG.normal(0, 1, ROWS))
    for metric in METRICS["regression"]:
        found = paired_difference(metric, truth, good, bad, Bootstrap())
        assert 0 < found.low <= found.difference <= found.high
        swapped = paired_difference(metric, truth, bad, good, Bootstrap())
        assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_the_same() -> None:
    truth, scores = classification(2)
    other = Scores(scores.prediction, np.full((ROWS, 2), 0.5))
    intervals = [paired_difference("log_loss", truth, scores, other, Bootstrap(seed=seed)) for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]
    assert intervals[0].low == pytest.approx(intervals[2].low, abs=0.02)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), 0
    for trial in range(100):
        truth = generator.normal(0, 1, 100)
        first, second = Scores(truth + generator.normal(0, 1, 100)), Scores(truth + generator.normal(0, 1, 100))
        found = paired_difference("mae", truth, first, second, Bootstrap(resamples=1000, seed=trial))
        covered += found.low <= 0 <= found.high
    assert 88 <= covered <= 99


def test_rows_that_belong_together_are_drawn_together() -> None:
    generator, covered = np.random.default_rng(0), {True: 0, False: 0}
    group = np.repeat(np.arange(40), 10)
    for trial in range(100):
        truth = np.zeros(400)
        first, second = (Scores(generator.normal(0, 1, 40)[group] + generator.normal(0, 0.3, 400)) for _ in range(2))
        for together in covered:
            bootstrap = Bootstrap(1000, seed=trial, groups=group if together else None)
            found = paired_difference("mae", truth, first, second, bootstrap)
            covered[together] += found.low <= 0 <= found.high
    assert 88 <= covered[True] <= 99
    assert covered[False] < 70


def test_one_class_only_is_an_undefined_metric() -> None:
    _, scores = classification(2)
    with pytest.raises(Invalid) as refused:
        paired_difference("roc_auc", np.zeros(ROWS), scores, scores, Bootstrap())
    assert refused.value.code == "metric_undefined"


def test_a_metric_of_probabilities_needs_them() -> None:
    truth, scores = classification(2)
    with pytest.raises(Invalid) as refused:
        paired_difference("roc_auc", truth, Scores(scores.prediction), scores, Bootstrap())
    assert refused.value.code == "metric_needs_probabilities"
