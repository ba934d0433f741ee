"""The kinds of model that compete: what can be tuned, where to begin, and the unfitted estimator.

First guesses come from published defaults for tables (Grinsztajn et al., Why do tree-based models still outperform
deep learning on tabular data, 2022; McElfresh et al., When do neural nets outperform boosted trees, 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightgbm import LGBMClassifier, LGBMRegressor
from optuna.trial import BaseTrial
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from tidemill.schemas.experiments import Task
from tidemill.training.preprocessing import Encoding

Params = dict[str, Any]

MAX_ITERATIONS = 3000
"""Boosting rounds at most; early stopping usually ends long before."""
_FOREST_ROWS = 25_000
_FOREST_TREES = 100
_LINEAR_ITERATIONS = 300


@dataclass(frozen=True)
class Setting:
    """What estimators need to know beyond their parameters. ``categories`` are positions in the trees' encoding."""

    task: Task
    metric: str
    rows: int
    categories: tuple[int, ...]
    non_negative: bool
    threads: int
    seed: int

    @property
    def regression(self) -> bool:
        return self.task == "regression"


@dataclass(frozen=True)
class Family:
    """``suggest`` draws parameters in an Optuna trial; ``build`` makes an estimator of so many iterations."""

    name: str
    encoding: Encoding
    suggest: Callable[[BaseTrial, Setting], Params]
    build: Callable[[Params, Setting, int], Any]
    known: Callable[[Setting], tuple[Params, ...]]
    iterative: bool = False


def naive_baseline(setting: Setting) -> Any:
    """Predicts the classes' shares, or the mean (the median when absolute errors count), whatever the features."""
    if not setting.regression:
        return DummyClassifier(strategy="prior")
    return DummyRegressor(strategy="median" if setting.metric == "mae" else "mean")


def _suggest_lightgbm(trial: BaseTrial, setting: Setting) -> Params:
    params: Params = {
        "learning_rate": trial.suggest_float("lgbm_learning_rate", 0.01, 0.2, log=True),
        "num_leaves": trial.suggest_int("lgbm_num_leaves", 7, 255, log=True),
        "min_child_samples": trial.suggest_int("lgbm_min_child_samples", 2, 200, log=True),
        "colsample_bytree": trial.suggest_float("lgbm_colsample_bytree", 0.3, 1.0),
        "subsample": trial.suggest_float("lgbm_subsample", 0.5, 1.0),
        "reg_lambda": trial.suggest_float("lgbm_reg_lambda", 1e-3, 100, log=True),
        "native_categories": trial.suggest_categorical("lgbm_native_categories", [False, True]),
    }
    if setting.regression:
        params["objective"] = trial.suggest_categorical("lgbm_objective", _objectives(setting))
    return params


def _objectives(setting: Setting) -> list[str]:
    names = ["regression_l1" if setting.metric == "mae" else "regression"]
    return [*names, "poisson"] if setting.non_negative else names


def _build_lightgbm(params: Params, setting: Setting, iterations: int) -> Any:
    own = {name: value for name, value in params.items() if name != "native_categories"}
    maker = LGBMRegressor if setting.regression else LGBMClassifier
    return maker(
        **own, n_estimators=iterations, subsample_freq=1, random_state=setting.seed, n_jobs=setting.threads,
        deterministic=True, force_row_wise=True, verbosity=-1,
    )  # fmt: skip


def _known_lightgbm(setting: Setting) -> tuple[Params, ...]:
    # One that suits few, strong features; one of small and different trees for many weak ones.
    shapes = ((0.05, 31, 20, 0.8, 0.8, 1.0, False), (0.05, 15, 20, 0.3, 0.9, 1.0, False))
    if setting.regression:
        shapes = ((0.05, 63, 10, 0.8, 0.8, 1.0, False), (0.03, 127, 5, 0.6, 0.7, 1.0, False))
    names = (
        "learning_rate", "num_leaves", "min_child_samples", "colsample_bytree", "subsample", "reg_lambda",
        "native_categories",
    )  # fmt: skip
    known: list[Params] = [dict(zip(names, shape, strict=True)) for shape in shapes]
    for params in known:
        if setting.regression:
            params |= {"objective": _objectives(setting)[-1]}
    return tuple({f"lgbm_{name}": value for name, value in params.items()} for params in known)


def _suggest_hist(trial: BaseTrial, _setting: Setting) -> Params:
    return {
        "learning_rate": trial.suggest_float("hgb_learning_rate", 0.01, 0.2, log=True),
        "max_leaf_nodes": trial.suggest_int("hgb_max_leaf_nodes", 7, 127, log=True),
        "min_samples_leaf": trial.suggest_int("hgb_min_samples_leaf", 5, 100, log=True),
        "l2_regularization": trial.suggest_float("hgb_l2_regularization", 1e-3, 100, log=True),
        "max_features": trial.suggest_float("hgb_max_features", 0.3, 1.0),
    }


def _build_hist(params: Params, setting: Setting, iterations: int) -> Any:
    shared = {
        **params, "max_iter": iterations, "early_stopping": False, "random_state": setting.seed,
        "categorical_features": list(setting.categories) or None,
    }  # fmt: skip
    if not setting.regression:
        return HistGradientBoostingClassifier(**shared)
    loss = "absolute_error" if setting.metric == "mae" else "squared_error"
    return HistGradientBoostingRegressor(**shared, loss=loss)


def _known_hist(_setting: Setting) -> tuple[Params, ...]:
    return (
        {
            "hgb_learning_rate": 0.06, "hgb_max_leaf_nodes": 31, "hgb_min_samples_leaf": 20,
            "hgb_l2_regularization": 1.0, "hgb_max_features": 0.7,
        },
    )  # fmt: skip


def _suggest_forest(trial: BaseTrial, _setting: Setting) -> Params:
    return {
        "max_features": trial.suggest_float("forest_max_features", 0.1, 1.0),
        "min_samples_leaf": trial.suggest_int("forest_min_samples_leaf", 1, 50, log=True),
    }


def _build_forest(params: Params, setting: Setting, _iterations: int) -> Any:
    maker = RandomForestRegressor if setting.regression else RandomForestClassifier
    few = _FOREST_ROWS / setting.rows if setting.rows > _FOREST_ROWS else None
    return maker(
        **params, n_estimators=_FOREST_TREES, max_samples=few, random_state=setting.seed, n_jobs=setting.threads
    )


def _known_forest(setting: Setting) -> tuple[Params, ...]:
    leaf, share = (1, 0.6) if setting.regression else (3, 0.3)
    return ({"forest_max_features": share, "forest_min_samples_leaf": leaf},)


def _suggest_linear(trial: BaseTrial, setting: Setting) -> Params:
    if not setting.regression:
        return {"C": trial.suggest_float("linear_c", 1e-3, 100, log=True)}
    return {
        "alpha": trial.suggest_float("linear_alpha", 1e-4, 100, log=True),
        "penalty": trial.suggest_categorical("linear_penalty", ["ridge", "elastic_net"]),
    }


def _build_linear(params: Params, setting: Setting, _iterations: int) -> Any:
    if not setting.regression:
        return LogisticRegression(**params, max_iter=_LINEAR_ITERATIONS, tol=1e-3)
    if params["penalty"] == "ridge":
        return Ridge(alpha=params["alpha"])
    return ElasticNet(alpha=params["alpha"], max_iter=_LINEAR_ITERATIONS, random_state=setting.seed)


def _known_linear(setting: Setting) -> tuple[Params, ...]:
    return ({"linear_alpha": 1.0, "linear_penalty": "ridge"},) if setting.regression else ({"linear_c": 1.0},)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("lightgbm", "trees", _suggest_lightgbm, _build_lightgbm, _known_lightgbm, iterative=True),
        Family("linear", "linear", _suggest_linear, _build_linear, _known_linear),
        Family("hist_gradient_boosting", "trees", _suggest_hist, _build_hist, _known_hist, iterative=True),
        Family("random_forest", "trees", _suggest_forest, _build_forest, _known_forest),
    )
}


def known_points(setting: Setting) -> list[Params]:
    """Where the search begins: the first guess of every family, then their second guesses."""
    guesses = {name: family.known(setting) for name, family in FAMILIES.items()}
    most = max(len(points) for points in guesses.values())
    return [
        {"candidate": name, **points[turn]} for turn in range(most) for name, points in guesses.items()
        if turn < len(points)
    ]  # fmt: skip
