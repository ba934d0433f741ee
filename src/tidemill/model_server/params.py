"""Checks what a caller passes beside the rows against the params of a model's signature, by the rules of columns."""

from collections.abc import Mapping
from typing import Any

from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.numbers import whole_number
from tidemill.kit.signatures import Param, integer_fits, moment_of, number_fits
from tidemill.model_server.tables import pointer
from tidemill.model_server.validation import ACCEPTED, EXPECTED, INTEGERS, MAX_PROBLEMS, is_writable

_NUMBERS = frozenset({"float", "double"})


def checked_params(given: Mapping[str, Any] | None, known: Mapping[str, Param]) -> Mapping[str, Any] | None:
    """``given`` for the model, None for none. Raises Invalid naming each param that does not fit, never its value."""
    read = {name: _read(known.get(name), value) for name, value in (given or {}).items()}
    problems = [problem for name, value in read.items() if (problem := _problem(known.get(name), value)) is not None]
    if problems:
        detail = f"The params do not fit the model's signature in {len(problems)} of {len(read)}."
        raise Invalid("params_invalid", detail, problems[:MAX_PROBLEMS])
    return read or None


def _read(param: Param | None, value: Any) -> Any:
    if param is None or param.type not in INTEGERS:
        return value
    return [whole_number(one) for one in value] if isinstance(value, list) else whole_number(value)


def _problem(param: Param | None, value: Any) -> Problem | None:
    if param is None:
        return Problem("/params", "param_unknown", "The model does not take such a parameter.")
    place = pointer("params", param.name)
    if param.is_list and not isinstance(value, list):
        return Problem(place, "type_mismatch", "Expected a list.")
    if all(_fits(one, param.type) for one in (value if param.is_list else [value])):
        return None
    each = "a list, and in each place " if param.is_list else ""
    return Problem(place, "type_mismatch", f"Expected {each}{EXPECTED[param.type]}.")


def _fits(value: Any, kind: str) -> bool:
    """Null is the model's to judge, and so are nested types that can be written at all."""
    if value is None or kind not in ACCEPTED:
        return is_writable(value)
    if type(value) not in ACCEPTED[kind]:
        return False
    if kind in INTEGERS:
        return integer_fits(value, kind)
    if kind in _NUMBERS:
        return number_fits(value, kind)
    return kind != "datetime" or moment_of(value) is not None
