"""The winner as one scikit-learn pipeline from raw columns to predictions."""

import warnings
from typing import Any

import numpy as np
import optuna
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from tidemill.training.candidates import FAMILIES, Family, Params, Setting, naive_baseline
from tidemill.training.columns import Features
from tidemill.training.fitting import fit_arguments, use_one_thread
from tidemill.training.preprocessing import make_encoder
from tidemill.training.search import TrialRecord


def refit(
    frame: pd.DataFrame, labels: "np.ndarray[Any, Any]", features: Features, setting: Setting, winner: TrialRecord
) -> Pipeline:
    """Fit the winner's parameters and iterations on ``frame``, which has the features' raw columns."""
    family = FAMILIES[winner.candidate]
    params = suggested(family, winner.params, setting)
    model = family.build(params, setting, winner.iterations)
    pipeline = Pipeline([("encode", make_encoder(features, family.encoding)), ("model", model)])
    arguments = {f"model__{name}": value for name, value in fit_arguments(family, params, setting).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(frame[features.names], labels, **arguments)
    use_one_thread(model)
    return pipeline


def fit_baseline(frame: pd.DataFrame, labels: "np.ndarray[Any, Any]", setting: Setting) -> Any:
    """The naive baseline; it ignores the features."""
    return naive_baseline(setting).fit(np.zeros((len(frame), 1)), labels)


def suggested(family: Family, drawn: Params, setting: Setting) -> Params:
    """Parameters by the estimator's own names, from what a trial had drawn."""
    return family.suggest(optuna.trial.FixedTrial(drawn), setting)
