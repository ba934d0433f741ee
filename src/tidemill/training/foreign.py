"""The signature of a model that somebody else logged to MLflow."""

from typing import Any

from tidemill.adapters.mlmodel import ModelCard, parse_json
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.plain_json import is_plain

_COLUMN_TYPES = frozenset({"boolean", "integer", "long", "float", "double", "string", "datetime"})


def signature_of(card: ModelCard) -> dict[str, Any]:
    """MLflow's signature as JSON.

    Raises Invalid without a signature (``signature_missing``), for one without named columns (``signature_unnamed``),
    for columns that are no scalars (``signature_type_unsupported``), for names that stand twice
    (``signature_names_equal``) and for what cannot be kept (``mlmodel_unreadable``).
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
    if unfit:
        problems = [Problem(f"column {name}", "type_unsupported", "Not a scalar type.") for name in unfit[:100]]
        raise Invalid("signature_type_unsupported", "Columns of the signature are no scalars.", problems)
    columns = [{"name": c["name"], "type": c["type"], "required": bool(c.get("required", True))} for c in inputs]
    _check_names("column", columns)
    _check_names("parameter", params)
    return {"inputs": columns, "outputs": outputs, "params": params}


def _check_names(what: str, named: list[Any]) -> None:
    """Callers tell columns, and parameters, apart by nothing else."""
    names = [each.get("name") if isinstance(each, dict) else None for each in named]
    if not all(map(_is_name, names)):
        raise Invalid("mlmodel_unreadable", f"A {what} of the model's signature has no name.")
    if len(set(names)) < len(names):
        raise Invalid("signature_names_equal", f"Two {what}s of the model's signature have one name.")


def _part(text: Any) -> list[Any]:
    try:
        found = parse_json(text) if text else []
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, list) or not is_plain(found):
        raise Invalid("mlmodel_unreadable", "The model's signature cannot be read.")
    return found


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name)
