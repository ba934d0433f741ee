"""What leads compiled code beyond its arrays is not loaded; what scikit-learn fits is, in all its variants."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC, SVR, NuSVC, OneClassSVM

from tidemill.adapters.array_bounds import UnsoundArray
from tidemill.adapters.data_models import load_skops

pytestmark = pytest.mark.filterwarnings("ignore")
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(60, 3))
Y = np.digitize(X[:, 0], [-0.5, 0.5])
FLAGS = (X[:, 0] > 0).astype(int)
KINDS = pd.DataFrame({"k": np.resize(["u", "v", "w"], 60), "n": np.resize([1.0, 2.0, np.nan], 60)})
TABLE = KINDS.astype({"k": "category"})
WORDS = ["one two", "two three"] * 30


def _with(**attributes: Any) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        vars(model).update(attributes)
        return model

    return change


def _machine(**attributes: Any) -> Any:
    return _with(**attributes)(SVC().fit(X, Y))


def _neighbors(**attributes: Any) -> Any:
    return _with(**attributes)(KNeighborsClassifier(algorithm="brute").fit(X, Y))


def _encoder(**attributes: Any) -> Any:
    return _with(**attributes)(OneHotEncoder().fit(KINDS))


def _boosted_without_categories() -> Any:
    model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(TABLE, np.resize([0.0, 5.0, 9.0], 60))
    _with(is_categorical_=np.zeros(2, dtype=np.uint8))(model._bin_mapper)
    return model


def _sparse_beyond() -> Any:
    model = LogisticRegression().fit(X, Y).sparsify()
    model.coef_.indices[0] = 10**8
    return model


UNSOUND: dict[str, Callable[[], Any]] = {
    "too few coefficients": lambda: _machine(_dual_coef_=np.zeros((0, 5))),
    "too few thresholds": lambda: _machine(_intercept_=np.zeros(1)),
    "vectors of another width": lambda: _machine(support_vectors_=np.zeros((60, 1))),
    "more vectors than there are": lambda: _machine(_n_support=np.full(3, 10**6, dtype=np.int32)),
    "another sort of machine": lambda: _with(_impl="c_svc")(SVR().fit(X, X[:, 0])),
    "a sparse machine": lambda: _machine(_sparse=True),
    "support beyond the kernel": lambda: _with(support_=np.full(60, 10**7, dtype=np.int32))(
        SVC(kernel="precomputed").fit(X @ X.T, FLAGS)
    ),
    "centers of another width": lambda: _with(cluster_centers_=np.zeros((2, 1)))(KMeans(2).fit(X)),
    "no centers": lambda: _with(cluster_centers_=np.zeros((0, 3)))(KMeans(2).fit(X)),
    "neighbors of another width": lambda: _neighbors(_fit_X=np.zeros((60, 1))),
    "neighbors of no class": lambda: _neighbors(_y=np.full(60, 10**8)),
    "a word beyond the vocabulary": lambda: _with(vocabulary_={"one": 10**8})(CountVectorizer().fit(WORDS)),
    "a name beyond the columns": lambda: _with(vocabulary_={"a": -1})(DictVectorizer().fit([{"a": 1}])),
    "columns that are not there": lambda: _encoder(_n_features_outs=[10**8, 6 - 10**8]),
    "a dropped category before the first": lambda: _encoder(
        _drop_idx_after_grouping=np.array([-5, None], dtype=object), _n_features_outs=[2, 3]
    ),
    "categories out of order": lambda: _encoder(categories_=[np.array([3, 2, 1]), np.array([1.0, 2.0, np.nan])]),
    "a value beyond a sparse matrix": _sparse_beyond,
    "categories that no feature has": _boosted_without_categories,
}


@pytest.mark.parametrize("name", UNSOUND)
def test_arrays_that_lead_beyond_others_are_not_loaded(name: str, tmp_path: Path) -> None:
    skops.io.dump(UNSOUND[name](), tmp_path / "model.skops")
    with pytest.raises(UnsoundArray):
        load_skops(tmp_path / "model.skops")


def test_a_sparse_matrix_is_looked_at_by_whatever_name_it_comes(tmp_path: Path) -> None:
    skops.io.dump(_sparse_beyond(), tmp_path / "named.skops")
    with ZipFile(tmp_path / "named.skops") as named, ZipFile(tmp_path / "model.skops", "w") as renamed:
        for member in named.namelist():
            content = named.read(member)
            if member == "schema.json":
                content = re.sub(rb'"csr_\w+"', b'"spmatrix"', content)
                content = content.replace(b"scipy.sparse._csr", b"scipy.sparse._matrix")
            renamed.writestr(member, content)
    with pytest.raises(UnsoundArray):
        load_skops(tmp_path / "model.skops")


def test_boosting_is_ended_before_it_writes_beyond_its_first_guess(tmp_path: Path) -> None:
    model = GradientBoostingRegressor(n_estimators=2).fit(X, X[:, 0])
    skops.io.dump(_with(estimators_=np.tile(model.estimators_, (1, 50)))(model), tmp_path / "model.skops")
    wide = load_skops(tmp_path / "model.skops")
    with pytest.raises(UnsoundArray):
        wide.predict(X)


def test_boosting_is_ended_before_it_reads_beyond_its_columns(tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(TABLE, np.resize([0.0, 5.0, 9.0], 60))
    model._preprocessor.transformers_ = model._preprocessor.transformers_[:1]
    skops.io.dump(model, tmp_path / "model.skops")
    narrow = load_skops(tmp_path / "model.skops")
    with pytest.raises(UnsoundArray):
        narrow.predict(TABLE)


SOUND: dict[str, tuple[Callable[[], Any], Any]] = {
    "three classes": (lambda: SVC().fit(X, Y), X),
    "probabilities": (lambda: NuSVC(nu=0.1, probability=True).fit(X, Y), X),
    "a kernel of its own": (lambda: SVC(kernel="precomputed").fit(X @ X.T, Y), X @ X.T),
    "a machine of numbers": (lambda: SVR().fit(X, X[:, 0]), X),
    "one class": (lambda: OneClassSVM().fit(X), X),
    "centers": (lambda: KMeans(2).fit(X), X),
    "neighbors of texts": (lambda: KNeighborsClassifier(algorithm="brute").fit(X, Y.astype(str)), X),
    "neighbors of two outputs": (lambda: KNeighborsClassifier(algorithm="brute").fit(X, np.c_[Y, FLAGS]), X),
    "neighbors of numbers": (lambda: KNeighborsRegressor(algorithm="brute").fit(X, X), X),
    "neighbors of few values": (lambda: KNeighborsClassifier().fit(csr_array(X), Y), csr_array(X)),
    "sparse coefficients": (lambda: LogisticRegression().fit(X, Y).sparsify(), X),
    "no vocabulary yet": (CountVectorizer, None),
    "a vocabulary": (lambda: CountVectorizer(ngram_range=(1, 2)).fit(WORDS), WORDS),
    "a short vocabulary": (lambda: CountVectorizer(max_features=2).fit(WORDS), WORDS),
    "categories": (lambda: OneHotEncoder().fit(KINDS), KINDS),
    "categories but one": (lambda: OneHotEncoder(drop="if_binary").fit(KINDS), KINDS),
    "categories but the first": (lambda: OneHotEncoder(drop="first").fit(KINDS), KINDS),
    "few categories": (lambda: OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist").fit(KINDS), KINDS),
    "few categories but one": (lambda: OneHotEncoder(max_categories=2, drop="first").fit(KINDS), KINDS),
    "given categories": (lambda: OneHotEncoder(categories=[["w", "v", "u"], [1, 2, np.nan]]).fit(KINDS), KINDS),
    "flags": (lambda: OneHotEncoder().fit(FLAGS[:, None] > 0), FLAGS[:, None] > 0),
    "a first guess of another": (lambda: GradientBoostingClassifier(init=LogisticRegression()).fit(X, Y), X),
    "no first guess": (lambda: GradientBoostingClassifier(init="zero").fit(X, Y), X),
    "columns of categories": (lambda: HistGradientBoostingClassifier(max_iter=2).fit(TABLE, Y), TABLE),
}


@pytest.mark.parametrize("name", SOUND)
def test_fitted_estimators_are_loaded_and_answer_as_before(name: str, tmp_path: Path) -> None:
    model, rows = SOUND[name][0](), SOUND[name][1]
    skops.io.dump(model, tmp_path / "model.skops")
    loaded = load_skops(tmp_path / "model.skops")
    for call in ("predict", "predict_proba", "transform"):
        if rows is not None and hasattr(model, call):
            before, after = getattr(model, call)(rows), getattr(loaded, call)(rows)
            if hasattr(before, "toarray"):
                before, after = before.toarray(), after.toarray()
            assert all(map(np.array_equal, before, after))
