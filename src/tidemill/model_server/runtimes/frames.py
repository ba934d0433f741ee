"""Checked columns as the data frame that a model was trained on: a float that was 32 bits wide must stay so."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tidemill.adapters.model_answers import plain_classes, plain_probabilities, plain_values
from tidemill.adapters.model_loading import Outputs
from tidemill.model_server.runtimes.base import ModelOutputs

_NUMPY = {"integer": np.int32, "long": np.int64, "float": np.float32, "double": np.float64, "boolean": np.bool_}
_NUMPY_WITH_NULLS = {**_NUMPY, "integer": np.float64, "long": np.float64, "boolean": object}


def build_frame(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> pd.DataFrame:
    """``types``: column name to the signature's type. Integers with nulls become 64-bit floats, as in pandas."""
    return pd.DataFrame({name: _array(values, types[name]) for name, values in columns.items()}, copy=False)


def plain_outputs(outputs: Outputs) -> ModelOutputs:
    """Python's own types all the way down. Raises Invalid for an answer that could not be recorded."""
    prediction = plain_values(outputs.prediction)
    if outputs.probabilities is None or outputs.classes is None:
        return ModelOutputs(prediction, None, None)
    classes = plain_classes(outputs.classes)
    return ModelOutputs(prediction, plain_probabilities(outputs.probabilities, len(prediction), len(classes)), classes)


def _array(values: Sequence[Any], kind: str) -> Any:
    if kind in _NUMPY:
        return np.array(values, dtype=_NUMPY[kind] if None not in values else _NUMPY_WITH_NULLS[kind])
    if kind == "string":
        return pd.array(list(values), dtype="str")
    if kind == "datetime":
        return pd.Series(values, dtype="datetime64[ns]")
    if kind == "binary":
        return pd.Series([None if value is None else base64.b64decode(value) for value in values], dtype=object)
    return pd.Series(list(values), dtype=object)
