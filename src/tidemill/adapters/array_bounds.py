"""Arrays of estimators that compiled code walks through, looked at before it does.

Compiled parts of scikit-learn and SciPy take one array's numbers for places in another, or its width for that of the
rows, and compare neither: a file could have them read and write beyond their arrays. `tree_nodes` looks at trees.
"""
# ruff: noqa: SLF001 - what fitted estimators keep is private to scikit-learn

import importlib
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

_CODES_BY_TABLE = "OUS"
"""Kinds of categories that are looked up in a table; others are searched for, which asks for their order."""


class UnsoundArray(Exception):
    """Arrays of an estimator do not fit one another, as those of a fitted one do."""


def check_arrays(parts: Iterable[Any]) -> None:
    """``parts``: everything that a model holds. Raises UnsoundArray; whatever else it raises is a damaged part.

    Estimators that are not fitted are left as they are. Boosting is told to compare for itself, since how wide its
    first guess or its rows are depends on an estimator within.
    """
    checks = _checks()
    is_sparse = importlib.import_module("scipy.sparse").issparse
    for part in parts:
        if is_sparse(part):
            _check_sparse(part)
        for kinds, fitted, check in checks:
            if isinstance(part, kinds) and fitted in vars(part):
                check(part)


def _checks() -> list[tuple[Any, str, Callable[[Any], None]]]:
    """Types, the attribute by which they are fitted, and what to look at."""
    ensemble = importlib.import_module("sklearn.ensemble")
    text = importlib.import_module("sklearn.feature_extraction.text").CountVectorizer
    mappings = importlib.import_module("sklearn.feature_extraction").DictVectorizer
    return [
        (importlib.import_module("sklearn.svm._base").BaseLibSVM, "support_", _check_vectors),
        (importlib.import_module("sklearn.cluster._kmeans")._BaseKMeans, "cluster_centers_", _check_centers),
        (importlib.import_module("sklearn.neighbors._base").NeighborsBase, "_fit_X", _check_neighbors),
        (importlib.import_module("sklearn.preprocessing").OneHotEncoder, "categories_", _check_categories),
        ((text, mappings), "vocabulary_", _check_vocabulary),
        (
            (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor),
            "estimators_",
            _watch_first_guess,
        ),
        (
            (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor),
            "_predictors",
            _watch_columns,
        ),
    ]


def _require(holds: Any) -> None:
    if not holds:
        raise UnsoundArray


def _check_sparse(matrix: Any) -> None:
    """SciPy looks at where its values lie only if it is asked to, and not in every format."""
    _require(matrix.format in {"csr", "csc"})
    try:
        matrix.check_format(full_check=True)
    except ValueError:
        raise UnsoundArray from None


def _check_vectors(machine: Any) -> None:
    """libsvm is given addresses, and counts by the classes and the support vectors."""
    # Of its class, not of the file; a sparse one's matrix would be whatever the file has in its place.
    _require("_impl" not in vars(machine) and machine._sparse is False)
    count = len(machine.support_)
    if machine._impl in {"c_svc", "nu_svc"}:
        classes = len(machine._n_support)
        _require(classes > 1 and (machine._n_support >= 0).all() and machine._n_support.sum() == count)
    else:
        classes = 2
        _require(len(machine._n_support) and machine._n_support[0] == count)
    pairs = classes * (classes - 1) // 2
    _require(machine._dual_coef_.shape == (classes - 1, count) and machine._intercept_.shape == (pairs,))
    _require(all(places.shape in {(0,), (pairs,)} for places in (machine._probA, machine._probB)))
    _require(machine._probB.shape in {machine._probA.shape, (0,)})
    if machine.kernel == "precomputed" or callable(machine.kernel):
        _check_codes(machine.support_, machine.shape_fit_[0])
    else:
        _require(machine.support_vectors_.shape == (count, machine.n_features_in_))


def _check_centers(clusters: Any) -> None:
    centers = clusters.cluster_centers_
    _require(centers.ndim == 2 and len(centers) and centers.shape[1] == clusters.n_features_in_)


def _check_neighbors(neighbors: Any) -> None:
    rows = neighbors._fit_X
    _require(rows.ndim == 2 and rows.shape[1] == neighbors.n_features_in_)
    targets, classes = vars(neighbors).get("_y"), vars(neighbors).get("classes_")
    _require(targets is None or targets.shape[0] == rows.shape[0])
    if targets is not None and classes is not None:
        of_outputs = classes if isinstance(classes, list) else [classes]
        for column, labels in zip(targets.reshape(rows.shape[0], -1).T, of_outputs, strict=True):
            _check_codes(column, len(labels))


def _check_vocabulary(vectorizer: Any) -> None:
    """A text's or name's number is its column, of as many as there are."""
    words = vectorizer.vocabulary_
    _require(isinstance(words, dict))
    _require(all(isinstance(number, Integral) and 0 <= int(number) < len(words) for number in words.values()))


def _check_categories(encoder: Any) -> None:
    """Each feature must have as many columns as its categories are written to."""
    known = vars(encoder)
    groups = known.get("_default_to_infrequent_mappings") if known.get("_infrequent_enabled") else None
    dropped = known.get("_drop_idx_after_grouping")
    columns = encoder._n_features_outs
    _require(len(columns) == len(encoder.categories_) == encoder.n_features_in_)
    for number, categories in enumerate(encoder.categories_):
        count = len(categories)
        _require(categories.dtype.kind in _CODES_BY_TABLE or _ascending(categories))
        if groups is not None and groups[number] is not None:
            _check_codes(groups[number], count)
            _require(len(groups[number]) == count)
            count = int(groups[number].max()) + 1
        if dropped is not None and dropped[number] is not None:
            _require(0 <= dropped[number] < count)
            count -= 1
        _require(int(columns[number]) == count)


def _ascending(categories: Any) -> bool:
    """Missing ones are last."""
    present = categories[categories == categories]  # noqa: PLR0124 - NaN differs from itself
    return bool((present[:-1] < present[1:]).all() and (present == categories[: len(present)]).all())


def _check_codes(codes: Any, count: int) -> None:
    _require(codes.dtype.kind in "iu" and ((codes >= 0) & (codes < count)).all())


def _watch_columns(boosting: Any) -> None:
    """Nodes name columns of what the estimator within makes of the rows, and rows of a table of categories."""
    is_category = boosting._bin_mapper.is_categorical_ != 0
    for predictor in (each for stage in boosting._predictors for each in stage):
        inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        _check_codes(inner["feature_idx"], len(is_category))
        _require(is_category[inner["feature_idx"][inner["is_categorical"] != 0]].all())
    make = boosting._preprocess_X

    def columns(rows: Any, *, reset: bool) -> Any:
        made = make(rows, reset=reset)
        _require(reset or made.shape[1] == len(is_category))
        return made

    boosting._preprocess_X = columns


def _watch_first_guess(boosting: Any) -> None:
    stages, make = boosting.estimators_, boosting._raw_predict_init
    np = importlib.import_module("numpy")

    def first_guess(rows: Any) -> Any:
        made = np.ascontiguousarray(make(rows), dtype=np.float64)
        _require(made.shape == (rows.shape[0], stages.shape[1]))
        return made

    boosting._raw_predict_init = first_guess
