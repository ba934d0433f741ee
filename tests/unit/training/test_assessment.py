"""What is said about a winner: agreed with scikit-learn, honest about intervals, drawn from the same data."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from tests.unit.training.tables import people, prepared
from tidemill.evaluation.statistics import Scores
from tidemill.training.assessment import figure_data, holdout_metrics, permutation_importance
from tidemill.training.figures import draw_figures
from tidemill.training.pipelines import refit
from tidemill.training.reports import without_nan
from tidemill.training.search import TrialRecord
from tidemill.training.targets import Target

RNG = np.random.default_rng(0)
ROWS = 500


def binary() -> tuple[Target, Scores]:
    codes = (RNG.random(ROWS) < 0.4).astype(float)
    positive = np.clip(codes * 0.3 + RNG.random(ROWS) * 0.7, 0.01, 0.99)
    probabilities = np.column_stack([1 - positive, positive])
    target = Target("y", "binary", ("no", "$yes$"), codes, codes)
    return target, Scores(probabilities.argmax(axis=1).astype(float), probabilities)


def test_binary_metrics_are_scikit_learns_with_intervals_around_them() -> None:
    target, scores = binary()
    found = holdout_metrics(target, target.codes, scores, seed=0)
    assert scores.probabilities is not None
    positive = scores.probabilities[:, 1]
    expected = {
        "roc_auc": reference.roc_auc_score(target.codes, positive),
        "average_precision": reference.average_precision_score(target.codes, positive),
        "log_loss": reference.log_loss(target.codes, positive),
        "brier": reference.brier_score_loss(target.codes, positive),
        "accuracy": reference.accuracy_score(target.codes, scores.prediction),
        "balanced_accuracy": reference.balanced_accuracy_score(target.codes, scores.prediction),
        "f1": reference.f1_score(target.codes, scores.prediction),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-9), name
        assert found[name]["low"] < value < found[name]["high"]
    assert found == holdout_metrics(target, target.codes, scores, seed=0)


def test_every_figure_is_drawn_from_the_reports_data(tmp_path: Path) -> None:
    target, scores = binary()
    data = figure_data(target, target.codes, scores, seed=0)
    data["importance"] = {"metric": "roc_auc", "columns": [{"column": "a$b", "value": 0.1, "low": 0.0, "high": 0.2}]}
    names = draw_figures(data, tmp_path)
    assert set(names) == {"roc.png", "precision_recall.png", "calibration.png", "confusion.png", "importance.png"}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert np.sum(data["confusion"]["matrix"]) == ROWS


def test_figures_of_several_classes_and_of_numbers_are_drawn(tmp_path: Path) -> None:
    codes = RNG.integers(0, 4, ROWS).astype(float)
    probabilities = RNG.dirichlet(np.ones(4), ROWS)
    many = Target("y", "multiclass", ("a", "b", "c", "d"), codes, codes)
    shown = figure_data(many, codes, Scores(probabilities.argmax(axis=1).astype(float), probabilities), seed=0)
    assert "confusion.png" in draw_figures(shown, tmp_path / "classes")
    numbers = Target("y", "regression", (), codes, codes)
    shown = figure_data(numbers, codes, Scores(codes + RNG.normal(size=ROWS)), seed=0)
    assert draw_figures(shown, tmp_path / "numbers") == ["residuals.png"]


def test_importance_finds_what_the_model_uses() -> None:
    ready = prepared(people(), target="good", exclude=["score", "grade"])
    winner = TrialRecord(0, "linear", {"linear_c": 1.0}, 1.0, 0, 0.0)
    rows = ready.split.development
    pipeline = refit(ready.frame.iloc[rows], ready.target.labels[rows], ready.features, ready.setting, winner)
    holdout = ready.split.holdout
    found = permutation_importance(
        pipeline, ready.frame.iloc[holdout], ready.target.codes[holdout], ready.features, ready.setting
    )
    assert {one["column"] for one in found[:3]} == {"age", "town", "wage"}
    assert all(one["low"] <= one["value"] <= one["high"] for one in found)


def test_reports_hold_no_numbers_that_json_cannot_write() -> None:
    assert without_nan({"a": [1.0, float("nan")], "b": (float("inf"), "x")}) == {"a": [1.0, None], "b": [None, "x"]}
