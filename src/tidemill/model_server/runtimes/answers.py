"""What a model's own process answers, looked at before it is believed: its code may have written it by itself."""

from typing import Any

from tidemill.adapters.model_answers import plain_classes
from tidemill.kit.errors import Invalid, Problem, TidemillError, from_record
from tidemill.model_server.runtimes.base import ModelOutputs

_CODES = frozenset((
    "flavor_unknown", "mlmodel_unreadable", "model_classes_repeated", "model_classes_unusable",
    "model_dependency_missing", "model_failed",
    "model_file_missing", "model_file_too_large", "model_file_unsafe", "model_not_loadable", "model_output_length",
    "model_output_shape", "model_too_large", "params_not_supported", "pickle_not_allowed", "prediction_names_equal",
    "prediction_not_finite", "prediction_out_of_range", "prediction_text_unusable", "prediction_too_deep",
    "prediction_too_large", "prediction_type_unsupported", "pyfunc_missing",
))  # fmt: skip
"""What a model's process ends with. Codes are labels of metrics, so a model may not make up new ones."""
_MOST_CHARACTERS = 1000
_MOST_PROBLEMS = 100


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
    if not _are_labels(classes):
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
    if not isinstance(error, kinds) or error.code not in _CODES:
        return Invalid("model_failed", "The model failed.")
    problems = [Problem(*(_words(text) for text in (each.pointer, each.code, each.detail)))
                for each in error.problems[:_MOST_PROBLEMS]]  # fmt: skip
    return type(error)(error.code, _words(error.detail), problems)


def _words(text: object) -> str:
    """On one line, without orders to whatever shows it."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)[:_MOST_CHARACTERS])


def _are_labels(classes: list[Any]) -> bool:
    """They become the names of the answer, of which two that are equal would be one."""
    try:
        return plain_classes(classes) == tuple(classes)
    except Invalid:
        return False


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _no_answer() -> Invalid:
    return Invalid("model_failed", "The model's process gave no answer for these rows.")
