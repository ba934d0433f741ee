"""Every kind of winner: one pipeline, saved without pickle, that copes with what serving brings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skops.io

from tests.unit.training.tables import people, prepared
from tidemill.adapters.data_models import TRUSTED_TYPES
from tidemill.training.candidates import FAMILIES, known_points
from tidemill.training.fitting import FoldData, fit_and_score, scores_of
from tidemill.training.pipelines import refit
from tidemill.training.search import TrialRecord

TARGETS = {"binary": "good", "multiclass": "grade", "regression": "score"}


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("candidate", FAMILIES)
def test_winners_survive_saving_and_strange_rows(candidate: str, task: str) -> None:
    target = TARGETS[task]
    ready = prepared(people(), target=target, exclude=[name for name in TARGETS.values() if name != target])
    point = next(point for point in reversed(known_points(ready.setting)) if point["candidate"] == candidate)
    params = {name: value for name, value in point.items() if name != "candidate"}
    rows = ready.split.development
    winner = TrialRecord(0, candidate, params, 1.0, iterations=20, seconds=0.0)
    pipeline = refit(ready.frame.iloc[rows], ready.target.labels[rows], ready.features, ready.setting, winner)
    assert pipeline.steps[-1][1].get_params().get("n_jobs", 1) == 1
    saved = skops.io.loads(skops.io.dumps(pipeline), trusted=list(TRUSTED_TYPES))
    holdout = ready.frame.iloc[ready.split.holdout]
    before, after = scores_of(pipeline, holdout, ready.setting), scores_of(saved, holdout, ready.setting)
    np.testing.assert_array_equal(before.prediction, after.prediction)
    if task != "regression":
        assert saved.classes_.tolist() == list(ready.target.classes)
    answers = scores_of(saved, _strange(holdout), ready.setting)
    assert np.isfinite(answers.prediction if answers.probabilities is None else answers.probabilities).all()


def test_a_forest_answers_the_same_to_the_last_digit_however_its_threads_race() -> None:
    ready = prepared(people(), target="score", exclude=["good", "grade"])
    rows = np.random.default_rng(1).normal(size=(400, 6))
    fold = FoldData(rows[:200], rows[:200, 0], rows[200:], rows[200:, 0])
    params, setting = {"max_features": 0.6, "min_samples_leaf": 1}, replace(ready.setting, threads=4)
    scores = {
        fit_and_score(FAMILIES["random_forest"], params, setting, fold, lambda *_: None).answers.prediction.tobytes()
        for _ in range(4)
    }
    assert len(scores) == 1


def _strange(frame: pd.DataFrame) -> pd.DataFrame:
    """Unseen and missing categories as objects, nothing known, and flags without gaps."""
    odd = frame.head(4).assign(town=pd.Series(["atlantis", None, "lille", np.nan], dtype=object).to_numpy())
    odd["wage"] = [np.nan, 1e300, -1e300, 0.0]
    odd["member"] = [True, False, True, True]
    odd["joined"] = pd.to_datetime([None, "1970-01-01", "2100-01-01", "2020-05-05"]).as_unit("ns")
    return odd
