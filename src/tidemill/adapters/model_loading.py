"""Turn the model directory of a bundle into something that predicts.

Libraries of models are optional extras of the processes that import this module, so they are imported when a model
is loaded, in the process that asked: a worker's child or a runtime, never the api.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.adapters.data_models import DataModel, find_data_model, load_data_model, load_skops
from tidemill.adapters.mlmodel import read_card
from tidemill.adapters.model_answers import CLASSES_REPEATED, plain_classes, plain_probabilities, plain_values
from tidemill.kit.errors import Forbidden, Invalid, NotFound, TidemillError, Unsupported

if TYPE_CHECKING:
    import numpy
    import pandas

TIDEMILL = "tidemill"
PYFUNC = "pyfunc"
FLAVORS = (TIDEMILL, PYFUNC)
SKOPS_FILE = "model.skops"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model says about n rows.

    prediction: n labels, numbers or, for models of several outputs, lists or records.
    probabilities: n x k floats in the order of ``classes``; None where the model gives none.
    """

    prediction: "numpy.ndarray[Any, Any] | list[Any]"
    probabilities: "numpy.ndarray[Any, Any] | list[list[float]] | None" = None
    classes: tuple[Any, ...] | None = None


class LoadedModel(Protocol):
    @property
    def classes(self) -> tuple[Any, ...] | None:
        """Labels in the order of the probabilities; None for other models."""

    def predict(self, frame: "pandas.DataFrame", params: Mapping[str, Any] | None = None) -> Outputs:
        """Predict each row of a frame that has the signature's columns and types."""


def load_model(directory: Path, flavor: str, *, runs_code: bool = False) -> LoadedModel:
    """Load the model in ``directory``.

    ``tidemill``: a scikit-learn pipeline in skops format, of trusted types alone. ``pyfunc``: any other MLflow model.
    ``runs_code``: whoever registered the model has allowed that loading it runs its maker's code. Without this a model
    is loaded only if it is data, whatever has become of its files since it was registered.

    Raises NotFound if the files are missing, Unsupported for an unknown flavor, Invalid if the model cannot be loaded,
    Forbidden (``pickle_not_allowed``) if loading it would need permission.
    """
    if flavor == TIDEMILL:
        return _load_pipeline(directory)
    if flavor != PYFUNC:
        raise Unsupported("flavor_unknown", f"A model's flavor is one of: {', '.join(FLAVORS)}.")
    found = find_data_model(read_card(directory))
    if isinstance(found, DataModel):
        return PyfuncModel(load_data_model(found))
    if not runs_code:
        raise Forbidden(
            "pickle_not_allowed",
            "Loading this model may run code of its maker. If you trust it: --allow-pickle (allow_pickle).",
            found,
        )
    return _load_pyfunc(directory)


class PipelineModel:
    """A scikit-learn pipeline. A classifier's label is its most probable class."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        classes = getattr(pipeline, "classes_", None) if hasattr(pipeline, "predict_proba") else None
        self._classes = classes
        self.classes: tuple[Any, ...] | None = None if classes is None else plain_classes(classes.tolist())

    def predict(self, frame: "pandas.DataFrame", params: Mapping[str, Any] | None = None) -> Outputs:
        if params:
            raise Invalid("params_not_supported", "This model takes no parameters.")
        if self._classes is None:
            return Outputs(self._pipeline.predict(frame))
        probabilities = self._pipeline.predict_proba(frame)
        return Outputs(self._classes[probabilities.argmax(axis=1)], probabilities, self.classes)


class PyfuncModel:
    """An MLflow model behind ``pyfunc``. Probabilities are given where its own model offers them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._classifier: Any
        self.classes: tuple[Any, ...] | None
        self._classifier, self.classes = _classifier_of(model)
        schema = model.metadata.get_input_schema()
        self._columns = None if schema is None or schema.is_tensor_spec() else schema.input_names()

    def predict(self, frame: "pandas.DataFrame", params: Mapping[str, Any] | None = None) -> Outputs:
        """Raises Invalid with a code of its own for whatever a foreign model may do or answer instead."""
        try:
            answer = self._model.predict(frame, params=dict(params) if params else None)
            probabilities = None if self._classifier is None else self._probabilities(frame)
        except Exception as error:  # a foreign model may raise anything
            raise Invalid("model_failed", f"The model failed to predict ({type(error).__name__}).") from error
        try:
            prediction = plain_values(_one_per_row(answer))
        except TidemillError:
            raise
        except Exception as error:  # so may what it answers with
            detail = f"The model's answer cannot be read ({type(error).__name__})."
            raise Invalid("model_output_shape", detail) from error
        if len(prediction) != len(frame):
            raise Invalid("model_output_length", "The model did not give one prediction per row.")
        if probabilities is not None and self.classes is not None:
            probabilities = plain_probabilities(probabilities, len(frame), len(self.classes))
        return Outputs(prediction, probabilities, self.classes)

    def _probabilities(self, frame: "pandas.DataFrame") -> Any:
        """Asked of the model inside, which MLflow does not put the columns in order for."""
        known = None if self._columns is None else [column for column in self._columns if column in frame.columns]
        return self._classifier.predict_proba(frame if known is None else frame[known])


def _load_pipeline(directory: Path) -> PipelineModel:
    file = directory / SKOPS_FILE
    if not file.is_file():
        raise NotFound("model_file_missing", f"The model directory holds no {SKOPS_FILE}.")
    try:
        pipeline = load_skops(file)
    except Exception as error:  # skops raises many kinds for a damaged or foreign file
        raise Invalid("model_not_loadable", f"The model cannot be loaded ({type(error).__name__}).") from error
    if not callable(getattr(pipeline, "predict", None)):
        raise Invalid("model_not_loadable", "The file holds no model that predicts.")
    return PipelineModel(pipeline)


def _load_pyfunc(directory: Path) -> PyfuncModel:
    """By MLflow's loaders, which run what the model brings."""
    pyfunc = importlib.import_module("mlflow.pyfunc")
    try:
        loaded = pyfunc.load_model(str(directory), suppress_warnings=True)
    except ModuleNotFoundError as error:
        raise Invalid("model_dependency_missing", f"The model needs the package {error.name}.") from error
    except Exception as error:  # loading runs code of the model's maker
        raise Invalid("model_not_loadable", f"The model cannot be loaded ({type(error).__name__}).") from error
    return PyfuncModel(loaded)


def _classifier_of(model: Any) -> tuple[Any, tuple[Any, ...]] | tuple[None, None]:
    """The classifier inside and its labels, if ``predict`` answers with these; None where that cannot be known.

    Raises Invalid (``model_classes_repeated``) for labels of which two are equal.
    """
    flavor = model.metadata.flavors.get("python_function", {})
    schema = model.metadata.get_input_schema()
    if flavor.get("predict_fn", "predict") != "predict" or (schema is not None and schema.is_tensor_spec()):
        return None, None
    try:
        inner = model.get_raw_model()
        if not hasattr(inner, "predict_proba") or getattr(inner, "classes_", None) is None:
            return None, None
        return inner, plain_classes(inner.classes_)
    except Invalid as error:
        if error.code == CLASSES_REPEATED:
            raise
        return None, None
    except Exception:  # noqa: BLE001 - a wrapper may raise anything here; then there are no probabilities
        return None, None


def _one_per_row(answer: Any) -> Any:
    if isinstance(answer, Mapping):
        return _of_columns(answer)
    if isinstance(answer, (str, bytes, tuple)):
        raise Invalid("model_output_shape", "The model answers neither with rows nor with named columns.")
    if hasattr(answer, "to_dict") and hasattr(answer, "columns"):
        return _of_frame(answer)
    if hasattr(answer, "to_numpy"):
        return _of_series(answer)
    if hasattr(answer, "ndim") and answer.ndim > 1:
        return answer[:, 0] if answer.shape[1:] == (1,) else answer.tolist()
    if hasattr(answer, "ndim"):
        return answer
    return list(answer)


def _of_frame(frame: Any) -> Any:
    if not frame.columns.is_unique:
        raise Invalid("model_output_shape", "The model answers with two columns of the same name.")
    return _of_series(frame.iloc[:, 0]) if len(frame.columns) == 1 else frame.to_dict(orient="records")


def _of_series(series: Any) -> Any:
    """As an array; one that pandas keeps in a type of its own value by value, since integers would become floats."""
    return series.to_numpy() if hasattr(series.dtype, "itemsize") and hasattr(series.dtype, "str") else list(series)


def _of_columns(columns: Mapping[Any, Any]) -> Any:
    """One record for each row, or the values of the only column, as from a data frame."""
    values = [list(_one_per_row(column)) if hasattr(column, "__len__") else None for column in columns.values()]
    lengths = {None if column is None else len(column) for column in values}
    if len(lengths) != 1 or None in lengths:
        raise Invalid("model_output_shape", "The model's columns are not lists of one length.")
    if len(values) == 1:
        return values[0]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
