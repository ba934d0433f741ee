"""What scikit-learn and LightGBM make honestly is not taken for hostile: the descriptions know all that they write."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, RationalQuadratic, WhiteKernel
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, TweedieRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from tidemill.adapters.data_models import load_skops
from tidemill.adapters.lightgbm_text import check_text
from tidemill.adapters.skops_schema import TRUSTED_TYPES, read_contents

pytestmark = pytest.mark.filterwarnings("ignore")
_RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": _RNG.normal(size=60), "b": _RNG.integers(0, 9, 60), "c": _RNG.choice(["u", "v"], 60)})
Y = np.where(X["a"] > 0, "yes", "no")
NUMBERS = X[["a", "b"]]
MANY = np.digitize(X["a"], [-0.5, 0.5])

MODELS: dict[str, Callable[[], Any]] = {
    "columns of text": lambda: make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
            (OrdinalEncoder(dtype=np.float32), ["b"]), remainder="passthrough",
        ),
        LogisticRegression(),
    ).fit(X, Y),
    "boosted trees with categories": lambda: HistGradientBoostingClassifier(
        max_iter=3, categorical_features="from_dtype"
    ).fit(X.astype({"c": "category"}), Y),
    "boosted trees": lambda: GradientBoostingClassifier(n_estimators=3).fit(NUMBERS, MANY),
    "an isolation forest": lambda: IsolationForest(n_estimators=3, max_features=0.5).fit(NUMBERS),
    "calibration": lambda: CalibratedClassifierCV(SVC(), cv=2).fit(NUMBERS, Y),
    "calibration by steps": lambda: CalibratedClassifierCV(
        LogisticRegression(), method="isotonic", cv=2
    ).fit(NUMBERS, Y),
    "a curve of one step": lambda: IsotonicRegression(out_of_bounds="clip").fit(np.zeros(9), np.arange(9.0)),
    "words": lambda: make_pipeline(TfidfVectorizer(stop_words="english"), SGDClassifier()).fit(
        [f"text {i % 7} of {i % 2}" for i in range(60)], Y
    ),
    "a search": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(NUMBERS, Y),
    "a network": lambda: MLPClassifier(4, max_iter=5, random_state=np.random.RandomState(0)).fit(NUMBERS, Y),
    "a process": lambda: GaussianProcessClassifier().fit(NUMBERS, Y),
    "a process of regression": lambda: GaussianProcessRegressor(
        ConstantKernel() * RBF() + WhiteKernel() * DotProduct() + Matern() + RationalQuadratic(), optimizer=None
    ).fit(NUMBERS, X["a"]),
    "chosen columns": lambda: make_pipeline(SelectKBest(f_classif, k=1), LogisticRegression()).fit(NUMBERS, Y),
    "columns chosen for numbers": lambda: make_pipeline(SelectKBest(f_regression, k=1), Ridge()).fit(NUMBERS, X["a"]),
    "a shape of Tweedie": lambda: TweedieRegressor(power=0).fit(NUMBERS, X["a"]),
    "a function": lambda: make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(NUMBERS.abs(), Y),
    "LightGBM": lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(NUMBERS, MANY),
}  # fmt: skip

ROWS = {"columns of text": X, "boosted trees with categories": X.astype({"c": "category"})}


@pytest.mark.parametrize("name", MODELS)
def test_what_skops_writes_of_an_honest_model_is_known(name: str) -> None:
    data = skops.io.dumps(MODELS[name]())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = read_contents(archive, json.loads(archive.read("schema.json")))
        members = {member.filename: member.file_size for member in archive.infolist()}
    assert not contents.reads_files
    assert contents.file_bytes == sum(members.values()) - members["schema.json"]
    assert len(contents.booster_texts) == (name == "LightGBM")
    for text in contents.booster_texts:
        check_text(text.encode())


@pytest.mark.parametrize("name", MODELS)
def test_an_honest_model_needs_no_permission_and_answers_as_before(name: str, tmp_path: Path) -> None:
    model, file = MODELS[name](), tmp_path / "model.skops"
    skops.io.dump(model, file)
    assert set(skops.io.get_untrusted_types(file=file)) <= set(TRUSTED_TYPES)
    rows = [f"text {i % 5} of {i % 2}" for i in range(9)] if name == "words" else ROWS.get(name, NUMBERS)[:9]
    rows = np.zeros(9) if name == "a curve of one step" else rows
    assert np.array_equal(load_skops(file).predict(rows), model.predict(rows))


def test_a_forest_with_threads_answers_as_with_one(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), RandomForestRegressor(40, n_jobs=2)).fit(NUMBERS, X["a"])
    skops.io.dump(model, tmp_path / "model.skops")
    loaded = load_skops(tmp_path / "model.skops")
    assert loaded[-1].n_jobs == 1
    model[-1].set_params(n_jobs=1)
    assert np.array_equal(loaded.predict(NUMBERS), model.predict(NUMBERS))


BOOSTERS: dict[str, dict[str, Any]] = {
    "linear": {"objective": "regression", "linear_tree": True},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "one against all": {"objective": "multiclassova", "num_class": 3},
    "a forest": {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "dropout": {"objective": "poisson", "boosting": "dart"},
    "one leaf": {"objective": "regression", "min_data_in_leaf": 60},
}


@pytest.mark.parametrize("name", BOOSTERS)
def test_what_lightgbm_writes_is_sound(name: str) -> None:
    params = {"verbose": -1, "min_data_in_leaf": 2, "max_cat_to_onehot": 1, "min_data_per_group": 1} | BOOSTERS[name]
    target = MANY if "num_class" in params else MANY > 1
    categories = [] if "linear_tree" in params else ["b"]
    rows = lightgbm.Dataset(
        NUMBERS, target, categorical_feature=categories, params={"linear_tree": "linear_tree" in params}
    )
    check_text(lightgbm.train(params, rows, 3).model_to_string().encode())
