"""The nodes of scikit-learn's trees, looked at before anybody walks along them.

scikit-learn follows a node's children, and asks for its feature, without comparing these numbers with anything: a file
could send it beyond its arrays, or round in a circle for ever. (skops says the same of these two types.)
"""

import importlib
from collections.abc import Iterable
from typing import Any

_NO_CHILD = -1


class UnsoundTree(Exception):
    """A tree that no training makes."""


def check_trees(parts: Iterable[Any]) -> None:
    """``parts``: everything that a model holds. Raises UnsoundTree."""
    tree_type = importlib.import_module("sklearn.tree._tree").Tree
    boosted = importlib.import_module("sklearn.ensemble._hist_gradient_boosting.predictor").TreePredictor
    for part in parts:
        if isinstance(part, tree_type):
            _check_children(part.children_left, part.children_right, part.children_left != _NO_CHILD)
            _check_places(part.feature[part.children_left != _NO_CHILD], part.n_features)
        elif isinstance(part, boosted):
            nodes = part.nodes
            inner = nodes["is_leaf"] == 0
            _check_children(nodes["left"], nodes["right"], inner)
            _check_places(nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)], len(part.raw_left_cat_bitsets))
        else:
            _check_widths(part)


def _check_widths(estimator: Any) -> None:
    """Rows are compared with the number of features that an estimator says, not with those that its trees ask for."""
    attributes = getattr(estimator, "__dict__", None)
    if not isinstance(attributes, dict):
        return
    width = attributes.get("n_features_in_")
    if hasattr(attributes.get("tree_"), "n_features") and attributes["tree_"].n_features != width:
        raise UnsoundTree
    for predictor in _flat(attributes.get("_predictors")):
        inner = predictor.nodes["is_leaf"] == 0
        _check_places(predictor.nodes["feature_idx"][inner], width)
    if _is_forest(estimator):
        for member in _flat(attributes.get("estimators_")):
            if member.tree_.n_features != width:
                raise UnsoundTree


def _is_forest(estimator: Any) -> bool:
    """Whether it checks rows once for all of its trees."""
    ensemble = importlib.import_module("sklearn.ensemble")
    forest = importlib.import_module("sklearn.ensemble._forest").BaseForest
    return isinstance(estimator, (forest, ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor))


def _flat(found: Any) -> Iterable[Any]:
    """Members of lists, tuples and arrays, and of those within these."""
    if hasattr(found, "tolist"):
        found = found.tolist()
    if isinstance(found, (list, tuple)):
        for member in found:
            yield from _flat(member)
    elif found is not None:
        yield found


def _check_children(left: Any, right: Any, inner: Any) -> None:
    """A node is made after its parent, so its number is greater."""
    if not len(left):
        raise UnsoundTree
    numbers = inner.nonzero()[0]
    for children in (left[inner], right[inner]):
        if not ((children > numbers) & (children < len(left))).all():
            raise UnsoundTree


def _check_places(places: Any, count: Any) -> None:
    if not isinstance(count, int) or ((places < 0) | (places >= count)).any():
        raise UnsoundTree
