"""Fit one candidate on encoded rows and score it on others, stopping early where the method can."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
from lightgbm.callback import CallbackEnv
from sklearn.exceptions import ConvergenceWarning

from tidemill.evaluation.comparison import Estimate
from tidemill.evaluation.intervals import drawn_values, ends_of
from tidemill.evaluation.resampling import Bootstrap
from tidemill.evaluation.statistics import Floats, Scores, metric_value, statistic
from tidemill.training.candidates import MAX_ITERATIONS, Family, Params, Setting, naive_baseline

VALIDATION_RESAMPLES = 500
_PATIENCE_ROUNDS = 50
_LIGHTGBM_METRICS: dict[str, dict[str, str]] = {
    "binary": {"roc_auc": "auc", "average_precision": "average_precision", "accuracy": "binary_error"},
    "multiclass": {"accuracy": "multi_error"},
    "regression": {"mae": "l1"},
}
_LIGHTGBM_LOSS = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}
_LIGHTGBM_COMPARABLE = frozenset({"roc_auc", "average_precision", "log_loss", "rmse", "mae"})
"""Metrics whose value per boosting round LightGBM knows itself, so that rounds can be compared between trials."""

OnRound = Callable[[float, float | None], None]
"""Called while a candidate is fitted, with how far it is (rounds times learning rate) and its validation metric where
known; may raise to stop it."""


@dataclass(frozen=True)
class FoldData:
    """One encoding of one fold. Targets are numbers, or positions of classes.

    bootstrap: how its validation rows are resampled, each fold's by a seed of its own.
    """

    train: Floats
    train_target: Floats
    validation: Floats
    validation_target: Floats
    bootstrap: Bootstrap = field(default_factory=lambda: Bootstrap(VALIDATION_RESAMPLES))


@dataclass(frozen=True, slots=True)
class Fitted:
    """``iterations``: boosting rounds that were best, 0 where the method has none. ``answers``: on validation rows."""

    score: float
    iterations: int
    answers: Scores


def fit_and_score(family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound) -> Fitted:
    """Fit on the fold's training rows and measure the setting's metric on its validation rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        estimator, iterations = _FITTERS.get(family.name, _fit_plain)(family, params, setting, fold, on_round)
        scores = scores_of(estimator, fold.validation, setting)
    return Fitted(metric_value(setting.metric, fold.validation_target, scores), iterations, scores)


def fit_and_score_baseline(setting: Setting, fold: FoldData) -> Fitted:
    """As `fit_and_score`, for the naive baseline."""
    estimator = naive_baseline(setting).fit(np.zeros((len(fold.train_target), 1)), fold.train_target)
    scores = scores_of(estimator, np.zeros((len(fold.validation_target), 1)), setting)
    return Fitted(metric_value(setting.metric, fold.validation_target, scores), 0, scores)


def validation_score(fitted: Sequence[Fitted]) -> float:
    """The mean over the folds."""
    return float(np.mean([one.score for one in fitted]))


def validation_interval(metric: str, folds: Sequence[FoldData], fitted: Sequence[Fitted]) -> Estimate | None:
    """`validation_score` with its 95% interval over the validation rows.

    It tells how far other rows could have moved the score, not that the best of many trials is chosen on these rows,
    which flatters it; the holdout tells without. None where the metric is undefined on too many resamples.
    """
    drawn = []
    for fold, one in zip(folds, fitted, strict=True):
        measure = statistic(metric, fold.validation_target, one.answers)
        drawn.append(drawn_values(measure, len(fold.validation_target), fold.bootstrap))
    return ends_of(validation_score(fitted), np.mean(drawn, axis=0), folds[0].bootstrap)


def scores_of(estimator: Any, rows: Any, setting: Setting) -> Scores:
    """Predictions as numbers, or as positions and probabilities. A label is the most probable class."""
    if setting.regression:
        return Scores(np.asarray(estimator.predict(rows), dtype=np.float64))
    probabilities = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
    return Scores(probabilities.argmax(axis=1).astype(np.float64), probabilities)


def use_one_thread(estimator: Any) -> None:
    """From here on, once it is fitted: for serving, where a model server scales by processes, and for the same answers.

    A forest adds its trees' answers up in the order in which its threads end, which moves the last digit.
    """
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=1)


def fit_arguments(family: Family, params: Params, setting: Setting) -> dict[str, Any]:
    """What ``fit`` of the family's estimator wants beyond features and target."""
    if family.name == "lightgbm":
        return {"categorical_feature": list(setting.categories) if params["native_categories"] else "auto"}
    return {}


def _fit_plain(family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound) -> tuple[Any, int]:
    on_round(0, None)
    estimator = family.build(params, setting, 0).fit(fold.train, fold.train_target)
    use_one_thread(estimator)
    return estimator, 0


def _fit_lightgbm(
    family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound
) -> tuple[Any, int]:
    metric = _LIGHTGBM_METRICS[setting.task].get(setting.metric, _LIGHTGBM_LOSS[setting.task])
    comparable = setting.metric in _LIGHTGBM_COMPARABLE and not (
        setting.task == "multiclass" and setting.metric == "roc_auc"
    )

    def follow(environment: CallbackEnv) -> None:
        results = environment.evaluation_result_list if comparable else None
        # Rounds of slow and fast learners are compared after the same total shrinkage.
        on_round((environment.iteration + 1) * params["learning_rate"], float(results[0][2]) if results else None)

    estimator = family.build(params, setting, MAX_ITERATIONS)
    # Named here rather than in fit, so that it is the only metric and thus the one that stops the rounds.
    estimator.set_params(metric=metric)
    estimator.fit(
        fold.train, fold.train_target,
        eval_X=fold.validation, eval_y=fold.validation_target,
        callbacks=[follow, lightgbm.early_stopping(_PATIENCE_ROUNDS, verbose=False)],
        **fit_arguments(family, params, setting),
    )  # fmt: skip
    return estimator, int(estimator.best_iteration_ or MAX_ITERATIONS)


def _fit_hist(family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound) -> tuple[Any, int]:
    on_round(0, None)
    estimator = family.build(params, setting, MAX_ITERATIONS)
    estimator.set_params(early_stopping=True, n_iter_no_change=_PATIENCE_ROUNDS // 2, scoring="loss", tol=0)
    estimator.fit(fold.train, fold.train_target, X_val=fold.validation, y_val=fold.validation_target)
    return estimator, int(estimator.n_iter_)


_FITTERS: dict[str, Callable[[Family, Params, Setting, FoldData, OnRound], tuple[Any, int]]] = {
    "lightgbm": _fit_lightgbm,
    "hist_gradient_boosting": _fit_hist,
}
