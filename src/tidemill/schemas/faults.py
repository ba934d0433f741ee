"""As many faults of a request as are told, and no more: each becomes an object, and a body can hold fifty thousand."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

MAX_FAULTS = 100
_PIECE_ITEMS = 200


def first_faults(most_items: int) -> WrapValidator:
    """Of a list of at most ``most_items``, looked at piece by piece until enough faults are found, in order."""

    def checked(value: Any, validate: Callable[[Any], list[Any]]) -> list[Any]:
        if type(value) is not list or not _PIECE_ITEMS < len(value) <= most_items:
            return validate(value)
        items: list[Any] = []
        faults: list[InitErrorDetails] = []
        for first in range(0, len(value), _PIECE_ITEMS):
            try:
                items += validate(value[first : first + _PIECE_ITEMS])
            except ValidationError as error:
                faults += _moved(error, first)
                if len(faults) >= MAX_FAULTS:
                    break
        if faults:
            raise ValidationError.from_exception_data("items", faults)
        return items

    return WrapValidator(checked)


def without_most_unknown(members: dict[Any, Any], known: frozenset[str]) -> dict[Any, Any]:
    """``members`` with as many unknown ones as are told."""
    if len(members) <= len(known) + MAX_FAULTS:
        return members
    unknown = 0
    kept = {}
    for name, value in members.items():
        unknown += name not in known
        if name in known or unknown <= MAX_FAULTS:
            kept[name] = value
    return kept


def _moved(error: ValidationError, first: int) -> list[InitErrorDetails]:
    """Its faults, whose places begin with the index in a piece, at their places in the list."""
    return [
        InitErrorDetails(
            type=PydanticCustomError(fault["type"], fault["msg"]),
            loc=(first + int(fault["loc"][0]), *fault["loc"][1:]),
            input=None,
        )
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
