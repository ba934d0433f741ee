"""What a model's own process answers, looked at before it is believed: its code may have written it by itself."""

from typing import Any

from tidemill.kit.errors import Invalid, TidemillError, from_record
from tidemill.model_server.runtimes.base import ModelOutputs


def outputs_of(answer: dict[str, Any], row_count: int) -> ModelOutputs:
    """Raises the error that the model ended with, or Invalid for what is no answer for so many rows."""
    if "error" in answer:
        raise error_of(answer)
    prediction, probabilities, classes = (answer.get(name) for name in ("prediction", "probabilities", "classes"))
    if not isinstance(prediction, list) or len(prediction) != row_count:
        raise _no_answer()
    if classes is None and probabilities is None:
        return ModelOutputs(prediction, None, None)
    if not isinstance(classes, list) or not isinstance(probabilities, list) or len(probabilities) != row_count:
        raise _no_answer()
    if not all(
        isinstance(row, list) and len(row) == len(classes) and all(map(_is_number, row)) for row in probabilities
    ):
        raise _no_answer()
    return ModelOutputs(prediction, probabilities, tuple(classes))


def error_of(answer: dict[str, Any], kinds: tuple[type[TidemillError], ...] = (Invalid,)) -> TidemillError:
    """What the model ended with, if it is of a kind that a model can end with."""
    try:
        error = from_record(answer["error"])
    except (AttributeError, TypeError, ValueError):
        return _no_answer()
    # A model's failure is not the caller's key, nor the platform's state.
    return error if isinstance(error, kinds) else Invalid("model_failed", "The model failed.")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _no_answer() -> Invalid:
    return Invalid("model_failed", "The model's process gave no answer for these rows.")
