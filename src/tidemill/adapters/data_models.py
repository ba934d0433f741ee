"""Models that are data and nothing else: which they are, and how they are loaded without MLflow's loaders.

MLflow's loader of a flavour decides by many keys what it opens and how, and a pickle is what it falls back to. So what
may be loaded without permission is a closed description of what MLflow writes for two libraries. Whatever is not part
of it - a key, a file, a flavour - makes the model code. `find_data_model` names the one file that it judged, and
`load_data_model` takes that answer and opens this file, with our own list of trusted types.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from tidemill.adapters.array_bounds import check_arrays
from tidemill.adapters.lightgbm_text import UnsoundText, check_text
from tidemill.adapters.mlmodel import MLMODEL_FILE, ModelCard, file_inside, parse_json
from tidemill.adapters.model_parts import check_calls, parts_of
from tidemill.adapters.predict_settings import settle
from tidemill.adapters.skops_schema import READING, TRUSTED_TYPES, Contents, StrangeSchema, read_contents
from tidemill.adapters.tree_nodes import check_trees
from tidemill.kit.errors import Invalid, Problem, TooLarge

SKOPS = "skops"
BOOSTER = "booster"

_MAX_UNPACKED_BYTES = 4 * 2**30
_MAX_SCHEMA_BYTES = 256 * 2**20
_SCHEMA_MEMBER = "schema.json"
_BOOSTER_CLASS = "lightgbm.basic.Booster"
_BOOSTER_BEGINS = b"tree\n"

_TOP_KEYS = frozenset(
    ("artifact_path", "databricks_runtime", "env_vars", "flavors", "metadata", "mlflow_version", "model_id",
     "model_size_bytes", "model_uuid", "run_id", "saved_input_example_info", "signature", "utc_time_created")
)  # fmt: skip
"""Of the whole file. None of these decides what is loaded, besides the flavors."""
_PYFUNC_KEYS = frozenset(("env", "loader_module", "python_version"))
_SIDE_FILES = frozenset(
    (MLMODEL_FILE, "conda.yaml", "environment_variables.txt", "python_env.yaml", "registered_model_meta",
     "requirements.txt")
)  # fmt: skip
"""Data for whoever builds an environment. Nothing here is installed or run by the platform."""
_EXAMPLE_KEYS = ("artifact_path", "serving_input_path")


@dataclass(frozen=True)
class _Description:
    """What MLflow writes for one library. path_key: of python_function; own_path_key: of the library's own section."""

    name: str
    path_key: str
    own_path_key: str
    pyfunc_keys: frozenset[str]
    own_keys: frozenset[str]
    predict_functions: frozenset[str]


_DESCRIPTIONS = {
    "mlflow.sklearn": _Description(
        "sklearn",
        "model_path",
        "pickled_model",
        _PYFUNC_KEYS | {"model_path", "predict_fn"},
        frozenset(("pickled_model", "serialization_format", "skops_trusted_types", "sklearn_version")),
        frozenset(("predict", "predict_joint_log_proba", "predict_log_proba", "predict_proba")),
    ),
    "mlflow.lightgbm": _Description(
        "lightgbm",
        "data",
        "data",
        _PYFUNC_KEYS | {"data"},
        frozenset(("data", "lgb_version", "model_class", "serialization_format", "skops_trusted_types")),
        frozenset(("predict",)),
    ),
}
_OFF: tuple[Any, ...] = (None, False, {}, [])
"""Values of keys outside the description that mean what their absence means, such as ``code: null``."""


@dataclass(frozen=True)
class DataModel:
    """A model that holds data only. form: `SKOPS` or `BOOSTER`; file: what is opened, nothing else is."""

    form: str
    file: Path
    loader_module: str
    predict_function: str
    signature: Any


def find_data_model(card: ModelCard) -> DataModel | list[Problem]:
    """The model if it is data only, else why loading it may run code of its maker.

    Raises Invalid for a model that is damaged or names files outside its folder.
    """
    loader = card.pyfunc.get("loader_module")
    description = _DESCRIPTIONS.get(loader) if isinstance(loader, str) else None
    if description is None:
        return [_reason("loader", "Its loader runs Python code that the model brings.")]
    form = _form(description, card.flavor(description.name))
    if form is None:
        return [_reason("pickle", "It is a pickle.")]
    reasons = [*_strange_keys(card, description), *_strange_values(card, description)]
    named = card.pyfunc.get(description.path_key)
    if not isinstance(named, str) or named != card.flavor(description.name).get(description.own_path_key):
        return [*reasons, _reason("loader", "Its two flavors do not name the same file.")]
    file = file_inside(card.directory, named)
    if "/" in named:
        reasons.append(_reason("loader", "Its file is not beside its MLmodel, where its loader would look."))
    reasons += _strange_files(card, named)
    reasons += _strange_types(file) if form == SKOPS else _strange_start(file)
    if reasons:
        return reasons
    predict = card.pyfunc.get("predict_fn") or "predict"
    return DataModel(form, file, str(loader), str(predict), card.content.get("signature"))


def load_data_model(model: DataModel) -> Any:
    """An ``mlflow.pyfunc.PyFuncModel`` that enforces the signature as MLflow does, around a model loaded our way.

    Raises Invalid if the file is damaged, or holds types outside the trusted list.
    """
    try:
        inner = load_skops(model.file) if model.form == SKOPS else _load_booster(model.file)
        return _as_pyfunc(model, _Predictor(inner, model.predict_function))
    except ModuleNotFoundError as error:
        raise Invalid("model_dependency_missing", f"The model needs the package {error.name}.") from error
    except Exception as error:  # skops and the libraries raise many kinds for a damaged or foreign file
        raise Invalid("model_not_loadable", f"The model cannot be loaded ({type(error).__name__}).") from error


def load_skops(file: Path) -> Any:
    """What a skops file of trusted types holds. Raises whatever skops raises for any other.

    Raises ValueError for a model that would open the files its input names, StrangeCall for one that would call what
    honest models do not hold, UnsoundTree or UnsoundArray for one that would go round in circles or beyond its arrays,
    StrangeSettings for one that would have its library predict otherwise.
    """
    model = importlib.import_module("skops.io").load(file, trusted=list(TRUSTED_TYPES))
    parts = list(parts_of(model))
    check_calls(parts)
    if any(getattr(part, "input", None) in READING for part in parts):
        raise ValueError("it opens the files that its input names")
    check_trees(parts)
    check_arrays(parts)
    settle(parts)
    return model


class _Predictor:
    """The part of a model that MLflow's wrapper calls."""

    def __init__(self, model: Any, function: str) -> None:
        self._model = model
        self._predict = getattr(model, function)

    def get_raw_model(self) -> Any:
        return self._model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        return self._predict(data)


def _as_pyfunc(model: DataModel, predictor: _Predictor) -> Any:
    """MLflow is told of the model no more than its signature: every other key could make it do something."""
    signature = model.signature if isinstance(model.signature, dict) else {}
    flavor = {"loader_module": model.loader_module, "predict_fn": model.predict_function}
    content = {
        "flavors": {"python_function": flavor},
        "signature": {part: signature.get(part) for part in ("inputs", "params")},
    }
    meta = importlib.import_module("mlflow.models").Model.from_dict(content)
    return importlib.import_module("mlflow.pyfunc").PyFuncModel(meta, predictor)


def _load_booster(file: Path) -> Any:
    return importlib.import_module("lightgbm").Booster(model_file=str(file))


def _form(description: _Description, own: Mapping[str, Any]) -> str | None:
    is_booster = own.get("model_class", _BOOSTER_CLASS) == _BOOSTER_CLASS
    if description.name == "lightgbm" and is_booster:
        return BOOSTER
    return SKOPS if own.get("serialization_format") == SKOPS else None


def _strange_keys(card: ModelCard, description: _Description) -> list[Problem]:
    if set(card.content["flavors"]) != {"python_function", description.name}:
        return [_reason("flavors", "It has other flavors than its loader's.")]
    sections = (
        (card.content, _TOP_KEYS, "MLmodel"),
        (card.pyfunc, description.pyfunc_keys, "python_function"),
        (card.flavor(description.name), description.own_keys, description.name),
    )
    for section, known, place in sections:
        if any(key not in known and value not in _OFF for key, value in section.items()):
            pointer = "code" if any(section.get(key) for key in ("code", "model_code_path")) else place
            return [_reason(pointer, "It has settings that its format does not have, such as Python code.")]
    return []


def _strange_values(card: ModelCard, description: _Description) -> list[Problem]:
    function = card.pyfunc.get("predict_fn", "predict")
    if not isinstance(function, str) or function not in description.predict_functions:
        return [_reason("predict_fn", "It is called by another function than a prediction's.")]
    return []


def _strange_files(card: ModelCard, named: str) -> list[Problem]:
    info = card.content.get("saved_input_example_info")
    examples = {info.get(key) for key in _EXAMPLE_KEYS} if isinstance(info, dict) else set()
    known = _SIDE_FILES | {named} | {name for name in examples if isinstance(name, str) and _is_example(name)}
    if any(name.rpartition("/")[2] == MLMODEL_FILE and name != MLMODEL_FILE for name in card.files):
        return [_reason("loader", "It holds a second model, which its loader might read instead.")]
    if named in _SIDE_FILES or set(card.files) - known:
        return [_reason("files", "It holds files that its format does not have.")]
    return []


def _is_example(name: str) -> bool:
    return name.endswith(".json") and "/" not in name


def _strange_types(file: Path) -> list[Problem]:
    try:
        contents = _contents(file)
        strange = set(importlib.import_module("skops.io").get_untrusted_types(file=file)) - set(TRUSTED_TYPES)
    except StrangeSchema:
        return [_reason("skops", "Its file says what files of such models do not say.")]
    except TooLarge:
        raise
    except Exception as error:  # skops raises many kinds for a damaged file
        raise Invalid("model_not_loadable", f"The model's file cannot be read ({type(error).__name__}).") from error
    if strange:
        return [_reason("skops", "It holds types outside the trusted list.")]
    _check_booster(text.encode() for text in contents.booster_texts)
    return [_reason("skops", "It reads the files that its input names.")] if contents.reads_files else []


def _contents(file: Path) -> Contents:
    """Raises TooLarge by what the archive declares; reading a member past its declared size fails."""
    try:
        archive = ZipFile(file)
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        raise Invalid("model_not_loadable", "The model's file is no skops archive.") from None
    with archive:
        members = archive.infolist()
        schema = sum(member.file_size for member in members if member.filename == _SCHEMA_MEMBER)
        _check_unpacked(sum(member.file_size for member in members), schema)
        contents = read_contents(archive, parse_json(archive.read(_SCHEMA_MEMBER)))
    _check_unpacked(contents.file_bytes, schema)
    return contents


def _check_unpacked(size_bytes: int, schema_bytes: int) -> None:
    if size_bytes > _MAX_UNPACKED_BYTES or schema_bytes > _MAX_SCHEMA_BYTES:
        raise TooLarge("model_too_large", "The model's file unpacks to more than a model may have.")


def _strange_start(file: Path) -> list[Problem]:
    with file.open("rb") as stream:
        if stream.read(len(_BOOSTER_BEGINS)) != _BOOSTER_BEGINS:
            return [_reason("booster", "Its file is not LightGBM's text.")]
        _check_booster([_BOOSTER_BEGINS + stream.read()])
    return []


def _check_booster(texts: Iterable[bytes]) -> None:
    try:
        for text in texts:
            check_text(text)
    except UnsoundText:
        raise Invalid("model_not_loadable", "The model's trees are not as LightGBM writes them.") from None


def _reason(pointer: str, detail: str) -> Problem:
    return Problem(pointer, "runs_code", detail)
