"""Loading our own models: only trusted types, and outputs in one form."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from tidemill.adapters.model_loading import SKOPS_FILE, load_model
from tidemill.kit.errors import Invalid, NotFound, Unsupported

RNG = np.random.default_rng(0)
X = pd.DataFrame({"age": RNG.normal(40, 10, 120), "town": RNG.choice(["Ulm", "Bonn"], 120)})
LABELS = np.where(X["age"] > 40, "old", "young")
CLASSIFIERS = [
    lightgbm.LGBMClassifier(n_estimators=3, verbose=-1), HistGradientBoostingClassifier(max_iter=3),
    RandomForestClassifier(3), LogisticRegression(), CalibratedClassifierCV(LogisticRegression()), DummyClassifier(),
]  # fmt: skip
REGRESSORS = [
    lightgbm.LGBMRegressor(n_estimators=3, verbose=-1), HistGradientBoostingRegressor(max_iter=3),
    RandomForestRegressor(3), Ridge(), ElasticNet(), DummyRegressor(),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
]  # fmt: skip


def pipeline(model: Any) -> Any:
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town"]),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["town"]),
    )
    return make_pipeline(columns, model)


def save(folder: Path, model: Any) -> Path:
    skops.io.dump(model, folder / SKOPS_FILE)
    return folder


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_classifiers_come_back_with_labels_and_probabilities(tmp_path: Path, model: Any) -> None:
    fitted = pipeline(model).fit(X, LABELS)
    loaded = load_model(save(tmp_path, fitted), "tidemill")
    outputs = loaded.predict(X)
    assert loaded.classes == outputs.classes == ("old", "young")
    assert outputs.probabilities is not None
    np.testing.assert_array_equal(outputs.probabilities, fitted.predict_proba(X))
    assert list(outputs.prediction) == list(fitted.predict(X))


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda model: type(model).__name__)
def test_regressors_come_back_with_the_same_numbers(tmp_path: Path, model: Any) -> None:
    fitted = pipeline(model).fit(X, X["age"].abs())
    outputs = load_model(save(tmp_path, fitted), "tidemill").predict(X)
    assert (outputs.probabilities, outputs.classes) == (None, None)
    np.testing.assert_array_equal(np.asarray(outputs.prediction), fitted.predict(X))


def test_a_type_outside_the_list_is_not_loaded(tmp_path: Path) -> None:
    stranger = make_pipeline(FunctionTransformer(pd.DataFrame.abs), Ridge()).fit(X[["age"]], X["age"])
    with pytest.raises(Invalid) as refused:
        load_model(save(tmp_path, stranger), "tidemill")
    assert refused.value.code == "model_not_loadable"


def test_missing_damaged_and_unknown_models_say_so(tmp_path: Path) -> None:
    for flavor in ("tidemill", "pyfunc"):
        with pytest.raises(NotFound):
            load_model(tmp_path, flavor)
    with pytest.raises(Unsupported):
        load_model(tmp_path, "pickle")
    (tmp_path / SKOPS_FILE).write_bytes(b"not a model")
    with pytest.raises(Invalid):
        load_model(tmp_path, "tidemill")
