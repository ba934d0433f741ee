"""Fit one candidate on encoded rows and score it on others, stopping early where the method can."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from lightgbm.callback import CallbackEnv
from sklearn.exceptions import ConvergenceWarning

from tidemill.evaluation.statistics import Floats, Scores, metric_value
from tidemill.training.candidates import MAX_ITERATIONS, Family, Params, Setting

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
    """One encoding of one fold. Targets are numbers, or positions of classes."""

    train: Floats
    train_target: Floats
    validation: Floats
    validation_target: Floats


@dataclass(frozen=True, slots=True)
class Fitted:
    """``iterations``: boosting rounds that were best, 0 where the method has none."""

    score: float
    iterations: int


def fit_and_score(family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound) -> Fitted:
    """Fit on the fold's training rows and measure the setting's metric on its validation rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        estimator, iterations = _FITTERS.get(family.name, _fit_plain)(family, params, setting, fold, on_round)
        scores = scores_of(estimator, fold.validation, setting)
    return Fitted(metric_value(setting.metric, fold.validation_target, scores), iterations)


def scores_of(estimator: Any, rows: Any, setting: Setting) -> Scores:
    """Predictions as numbers, or as positions and probabilities. A label is the most probable class."""
    if setting.regression:
        return Scores(np.asarray(estimator.predict(rows), dtype=np.float64))
    probabilities = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
    return Scores(probabilities.argmax(axis=1).astype(np.float64), probabilities)


def fit_arguments(family: Family, params: Params, setting: Setting) -> dict[str, Any]:
    """What ``fit`` of the family's estimator wants beyond features and target."""
    if family.name == "lightgbm":
        return {"categorical_feature": list(setting.categories) if params["native_categories"] else "auto"}
    return {}


def _fit_plain(family: Family, params: Params, setting: Setting, fold: FoldData, on_round: OnRound) -> tuple[Any, int]:
    on_round(0, None)
    return family.build(params, setting, 0).fit(fold.train, fold.train_target), 0


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
