"""What an MLflow model directory says about itself, and whether loading it would run code of its maker."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skops.io
import yaml

from tidemill.adapters.model_loading import MLMODEL_FILE, TRUSTED_TYPES
from tidemill.kit.errors import Invalid, NotFound, Problem

_COLUMN_TYPES = frozenset({"boolean", "integer", "long", "float", "double", "string", "datetime"})
_DATA_ONLY = frozenset({"mlflow.onnx", "mlflow.catboost"})


@dataclass(frozen=True)
class ModelCard:
    """The file ``MLmodel`` of a model directory."""

    directory: Path
    content: dict[str, Any]

    @property
    def pyfunc(self) -> dict[str, Any]:
        return dict(self.content["flavors"]["python_function"])

    def flavor(self, name: str) -> dict[str, Any]:
        return dict(self.content["flavors"].get(name) or {})


def read_card(directory: Path) -> ModelCard:
    """Raises NotFound without ``MLmodel``, Invalid if it is damaged or has no ``python_function`` flavor."""
    file = directory / MLMODEL_FILE
    if not file.is_file():
        raise NotFound("model_file_missing", f"The model directory holds no {MLMODEL_FILE}.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        flavors = dict(content["flavors"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise Invalid("mlmodel_unreadable", f"The model's {MLMODEL_FILE} cannot be read.") from None
    if not isinstance(flavors.get("python_function"), dict):
        raise Invalid("pyfunc_missing", "The model has no python_function flavor, so nothing can predict with it.")
    return ModelCard(directory, content)


def signature_of(card: ModelCard) -> dict[str, Any]:
    """MLflow's signature as JSON.

    Raises Invalid without a signature (``signature_missing``), for one without named columns (``signature_unnamed``),
    and for columns that are no scalars (``signature_type_unsupported``).
    """
    raw = card.content.get("signature")
    if not isinstance(raw, dict) or not raw.get("inputs"):
        raise Invalid(
            "signature_missing", "The model was logged without a signature; log it with signature= or input_example=."
        )
    inputs, outputs, params = (
        json.loads(raw[part]) if raw.get(part) else [] for part in ("inputs", "outputs", "params")
    )
    if not all(isinstance(column, dict) and column.get("name") for column in inputs):
        raise Invalid(
            "signature_unnamed", "The signature has no named columns; log the model with a data frame as example."
        )
    unfit = [column["name"] for column in inputs if column.get("type") not in _COLUMN_TYPES]
    if unfit:
        problems = [Problem(f"column {name}", "type_unsupported", "Not a scalar type.") for name in unfit[:100]]
        raise Invalid("signature_type_unsupported", "Columns of the signature are no scalars.", problems)
    columns = [{"name": c["name"], "type": c["type"], "required": bool(c.get("required", True))} for c in inputs]
    return {"inputs": columns, "outputs": outputs, "params": params}


def code_reasons(card: ModelCard) -> list[Problem]:
    """Why loading the model may run code of its maker; empty for formats that hold data only.

    Judged by what MLflow's loaders do, not by what the model claims: a skops file is searched for types outside our
    own allow-list, since the list in ``MLmodel`` is the maker's.
    """
    pyfunc = card.pyfunc
    reasons = [_reason("code", "It ships Python files.")] if pyfunc.get("code") else []
    if pyfunc.get("model_code_path"):
        reasons.append(_reason("code", "It is made of Python code."))
    if len(list(card.directory.rglob(MLMODEL_FILE))) > 1:
        reasons.append(_reason("loader", "It holds a second model, which its loader might read instead."))
    _check_inside(card, pyfunc.get("data"))
    loader = pyfunc.get("loader_module")
    if loader == "mlflow.sklearn":
        reasons.extend(_of_sklearn(card, card.flavor("sklearn"), pyfunc.get("model_path")))
    elif loader == "mlflow.lightgbm":
        flavor = card.flavor("lightgbm")
        if flavor.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
            reasons.extend(_of_sklearn(card, flavor, flavor.get("data")))
    elif loader == "mlflow.xgboost":
        if not str(card.flavor("xgboost").get("model_class", "xgboost.core.Booster")).startswith("xgboost."):
            reasons.append(_reason("loader", "It names a class that is not XGBoost's."))
    elif loader not in _DATA_ONLY:
        reasons.append(_reason("loader", "Its loader runs Python code that the model brings."))
    return reasons


def _of_sklearn(card: ModelCard, flavor: dict[str, Any], data: Any) -> list[Problem]:
    if flavor.get("serialization_format") != "skops":
        return [_reason("pickle", "It is a pickle.")]
    file = _check_inside(card, data)
    try:
        strange = set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED_TYPES)
    except Exception as error:  # skops raises many kinds for a damaged file
        raise Invalid("model_not_loadable", f"The model's file cannot be read ({type(error).__name__}).") from error
    return [_reason("skops", "It holds types outside the trusted list.")] if strange else []


def _check_inside(card: ModelCard, data: Any) -> Path:
    root = card.directory.resolve()
    file = (root / str(data or ".")).resolve()
    if not file.is_relative_to(root) or not file.exists():
        raise Invalid("model_file_missing", "The model names a file that is not in its folder.")
    return file


def _reason(pointer: str, detail: str) -> Problem:
    return Problem(pointer, "runs_code", detail)
