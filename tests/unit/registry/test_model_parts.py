"""A model of trusted types calls nothing of its file's choice."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import StackingClassifier
from sklearn.feature_selection import f_classif
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_array

from tests.unit.registry.test_honest_models import MODELS, NUMBERS, Y
from tidemill.adapters.data_models import load_skops
from tidemill.adapters.model_parts import StrangeCall, check_calls, parts_of

pytestmark = pytest.mark.filterwarnings("ignore")


def _with(**attributes: Any) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        vars(model).update(attributes)
        return model

    return change


def _regression() -> Any:
    return LogisticRegression().fit(NUMBERS, Y)


def _stacked() -> Any:
    return StackingClassifier([("a", LogisticRegression())], cv=2).fit(NUMBERS, Y)


def _chain() -> Any:
    halves = np.array([0, 1] * 30)
    return ClassifierChain(LogisticRegression()).fit(NUMBERS, np.c_[halves, halves])


def _in_an_array(model: Any) -> Any:
    steps = np.empty(1, dtype=object)
    steps[0] = ("a", model)
    return _with(transformer_list=steps)(FeatureUnion([("a", FunctionTransformer())]))


STRANGE: dict[str, Any] = {
    "a constant in the place of a method": _with(transform=partial(check_array, "/etc/passwd"))(_regression()),
    "a type in the place of a method": _with(transform=np.str_)(_regression()),
    "a function in the place of a method it has": _with(predict=np.log1p)(_regression()),
    "a value in the place of a method it has": _with(predict=1)(_regression()),
    "a function that brings its arguments": FunctionTransformer(partial(check_array, "/etc/passwd")),
    "a type as a function": FunctionTransformer(np.str_),
    "a type that is no number's": _with(dtype=dict)(_regression()),
    "a method for a response": _with(stack_method_=["save_model"])(_stacked()),
    "a method for a link of a chain": _with(chain_method_="fit")(_chain()),
    "a function that scores where one is called": FunctionTransformer(f_classif),
    "a curve that is none": _with(f_=np.log1p)(IsotonicRegression()),
    "a step of a pipeline": Pipeline([("a", _with(transform=np.str_)(_regression())), ("b", _regression())]),
    "a step in an array": _in_an_array(_with(transform=np.str_)(_regression())),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_honest_models_do_not_call_is_refused(name: str) -> None:
    with pytest.raises(StrangeCall):
        check_calls(parts_of(STRANGE[name]))


@pytest.mark.parametrize("name", MODELS)
def test_what_honest_models_call_is_known(name: str) -> None:
    check_calls(parts_of(MODELS[name]()))


def test_a_file_whose_model_would_call_something_is_not_loaded(tmp_path: Path) -> None:
    skops.io.dump(STRANGE["a method for a response"], tmp_path / "model.skops")
    with pytest.raises(StrangeCall):
        load_skops(tmp_path / "model.skops")
