"""What a model holds, and what scikit-learn would call of it: an estimator calls what lies in its attributes.

A file that makes trusted types alone still chooses which of their methods is called with what: a function in the place
of a method, or another method's name where the method for a response is named. Honest estimators hold few things that
can be called; whatever else can be is refused.
"""

import gc
import importlib
from collections.abc import Iterable, Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

_NO_PARTS = (ModuleType, type, FunctionType, BuiltinFunctionType, str, bytes, int, float)
_FUNCTIONS = ("func", "inverse_func")
_LOSSES, _KERNELS = "sklearn._loss.loss", "sklearn.gaussian_process.kernels"
_SCORERS = "sklearn.metrics._scorer"
_SCORE_FUNCTIONS = "sklearn.feature_selection._univariate_selection"
_CURVES = ("scipy.interpolate._interpolate", "sklearn.isotonic")
"""Where what an isotonic regression makes of its thresholds comes from; no file can bring one of its own."""
_NAMING = ("chain_method", "chain_method_", "response_method", "stack_method", "stack_method_")
"""Attributes that name the method which gives a response."""
_RESPONSES = frozenset(("auto", "decision_function", "predict", "predict_log_proba", "predict_proba"))


class StrangeCall(Exception):
    """Something could be called that honest models do not hold."""


def parts_of(model: Any) -> Iterator[Any]:
    """Everything that the model holds, itself included, each once; no modules, classes and functions."""
    seen, waiting = set[int](), [model]
    kept: list[Any] = []
    while waiting:
        part = waiting.pop()
        if id(part) not in seen and not isinstance(part, _NO_PARTS):
            seen.add(id(part))
            kept.append(part)  # an id is another's once its object is gone
            yield part
            waiting.extend(_within(part))


def check_calls(parts: Iterable[Any]) -> None:
    """Raises StrangeCall if one of ``parts`` has something to call in its attributes which honest ones have not."""
    array = importlib.import_module("numpy").ndarray
    for part in parts:
        is_ours = isinstance(part, array) or type(part).__module__ in _CURVES[:1]
        attributes = None if is_ours else getattr(part, "__dict__", None)
        for name, value in attributes.items() if isinstance(attributes, dict) else ():
            if callable(getattr(type(part), name, None)) or (callable(value) and not _is_known(name, value)):
                raise StrangeCall
            if name in _NAMING and not _names_responses(value):
                raise StrangeCall


def _within(part: Any) -> list[Any]:
    np = importlib.import_module("numpy")
    if isinstance(part, np.ndarray):  # the garbage collector does not look into arrays
        return list(np.asarray(part).ravel().tolist()) if part.dtype.hasobject else []
    return gc.get_referents(part)


def _is_known(name: str, value: Any) -> bool:
    np = importlib.import_module("numpy")
    if isinstance(value, type):
        return name == "dtype" and issubclass(value, np.generic)
    if isinstance(value, (np.ufunc, partial)):
        return name in _FUNCTIONS and not getattr(value, "args", ())
    if type(value).__module__ == _SCORERS:
        return name == "scorer_"
    if isinstance(value, FunctionType) and value.__module__ == _SCORE_FUNCTIONS:
        return name == "score_func"  # called to fit and at no other time
    if name == "f_":
        return (value.__module__ if isinstance(value, FunctionType) else type(value).__module__) in _CURVES
    return not {_LOSSES, _KERNELS}.isdisjoint(kind.__module__ for kind in type(value).__mro__)


def _names_responses(value: Any) -> bool:
    named = value if isinstance(value, list | tuple) else [value]
    return all(each is None or (isinstance(each, str) and each in _RESPONSES) for each in named)
