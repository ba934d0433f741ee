"""What a computing child may say to its worker. It may have run code that is not ours, so each line is looked at."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tidemill.kit.errors import Invalid, Malformed, TooLarge
from tidemill.kit.json_shape import ShapeLimits, check_shape

Message = dict[str, Any]
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""Written in JSON, after any number of backslashes that are texts themselves. PostgreSQL keeps none."""


_SHAPE = ShapeLimits(values=1_000_000, depth=64, number_characters=400)
"""More than a profile of the widest table has; each value becomes an object of the worker."""


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Progress(_Said):
    type: Literal["progress"]
    stage: str
    done: float
    total: float | None
    message: str
    best: Annotated[float | None, Field(allow_inf_nan=False)]
    metric: str | None


class _Log(_Said):
    type: Literal["log"]
    level: str
    message: str


class _Event(_Said):
    type: Literal["event"]
    fields: dict[str, Any]


class _Result(_Said):
    type: Literal["result"]
    result: dict[str, Any] | None


class _Problem(_Said):
    pointer: str
    code: str
    detail: str


class _Error(_Said):
    kind: str
    code: str
    detail: str
    problems: list[_Problem]


class _Failed(_Said):
    type: Literal["error"]
    error: _Error


_KEPT = frozenset(("result", "error"))
"""Of the others the journal takes NUL away."""
_MESSAGE: TypeAdapter[_Progress | _Log | _Event | _Result | _Failed] = TypeAdapter(
    Annotated[_Progress | _Log | _Event | _Result | _Failed, Field(discriminator="type")]
)


def read_message(line: bytes) -> Message:
    """One line of a child. Raises Invalid for anything that ours does not say."""
    try:
        check_shape(line, _SHAPE)
        message = _MESSAGE.validate_json(line).model_dump()
    except TooLarge:
        raise Invalid("compute_message_too_large", "The computation gave more values than fit a message.") from None
    except (ValidationError, Malformed):
        raise _malformed() from None
    if message["type"] in _KEPT and _NUL.search(line):
        raise _malformed()
    return message


def _malformed() -> Invalid:
    return Invalid("compute_message_malformed", "The computation said something that is no message.")
