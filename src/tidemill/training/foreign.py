"""The signature of a model that somebody else logged to MLflow."""

from collections import Counter
from typing import Any

from tidemill.adapters.mlmodel import ModelCard, parse_json
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.plain_json import is_plain

_COLUMN_TYPES = frozenset({"boolean", "integer", "long", "float", "double", "string", "datetime"})


def signature_of(card: ModelCard) -> dict[str, Any]:
    """MLflow's signature as JSON.

    Raises Invalid without a signature (``signature_missing``), for one without named columns (``signature_unnamed``),
    for columns that are no scalars (``signature_type_unsupported``), for two columns or params of one name
    (``signature_repeated``), and for one that MLflow does not write (``mlmodel_unreadable``).
    """
    raw = card.content.get("signature")
    if not isinstance(raw, dict) or not raw.get("inputs"):
        raise Invalid(
            "signature_missing", "The model was logged without a signature; log it with signature= or input_example=."
        )
    inputs, outputs, params = (_part(raw.get(part)) for part in ("inputs", "outputs", "params"))
    if not inputs or not all(isinstance(column, dict) and _is_name(column.get("name")) for column in inputs):
        raise Invalid(
            "signature_unnamed",
            "The signature has no columns named by texts; log the model with a data frame that has such names.",
        )
    unfit = [column["name"] for column in inputs if str(column.get("type")) not in _COLUMN_TYPES]
    for part in (inputs, outputs, params):
        _refuse_repeated(part)
    if not all(isinstance(column.get("required", True), bool) for column in inputs) or not all(map(_is_param, params)):
        raise _unreadable()
    if unfit:
        problems = [Problem(f"column {name}", "type_unsupported", "Not a scalar type.") for name in unfit[:100]]
        raise Invalid("signature_type_unsupported", "Columns of the signature are no scalars.", problems)
    columns = [{"name": c["name"], "type": c["type"], "required": bool(c.get("required", True))} for c in inputs]
    return {"inputs": columns, "outputs": outputs, "params": params}


def _part(text: Any) -> list[Any]:
    try:
        found = parse_json(text) if text else []
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, list) or not is_plain(found):
        raise _unreadable()
    return found


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name)


def _is_param(param: Any) -> bool:
    return isinstance(param, dict) and _is_name(param.get("name")) and isinstance(param.get("type"), str)


def _refuse_repeated(part: list[Any]) -> None:
    """Whoever reads a part by name takes the last of two."""
    names = [entry["name"] for entry in part if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        problems = [Problem(f"column {name}", "name_repeated", "Stands more than once.") for name in twice[:100]]
        raise Invalid("signature_repeated", "The signature has two columns or params of the same name.", problems)


def _unreadable() -> Invalid:
    return Invalid("mlmodel_unreadable", "The model's signature cannot be read.")
