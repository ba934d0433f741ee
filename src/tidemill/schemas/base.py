"""What all wire models share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tidemill.kit.errors import Invalid
from tidemill.kit.numbers import whole_number
from tidemill.schemas.faults import without_most_unknown

TEXT_PATTERN = "^[^\\u0000]*$"
"""What a text may hold: all but NUL, which PostgreSQL does not take."""
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: JSON can write both, PostgreSQL takes neither."""
_DIGITS = re.compile(r"-?(0|[1-9][0-9]*)(\.0+)?")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


class Schema(BaseModel):
    """Unknown members are refused, so that a misspelt option is never silently ignored."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, from_attributes=True)


def document_texts(schema: dict[str, Any]) -> None:
    """Say in a JSON schema what texts may hold, where nothing narrower is said."""
    for declared in schema.get("properties", {}).values():
        _document_text(declared)


def _document_text(declared: dict[str, Any]) -> None:
    for inner in (*declared.get("anyOf", ()), declared.get("items"), declared.get("additionalProperties")):
        if isinstance(inner, dict):
            _document_text(inner)
    if declared.get("type") == "string" and not {"pattern", "enum", "const", "format"} & set(declared):
        declared["pattern"] = TEXT_PATTERN


class RequestBody(Schema):
    """A JSON body. Types are those of JSON: ``true`` is no number, ``1`` no boolean, ``"1"`` neither, and ``1.0`` is a
    whole number as in JSON Schema; numbers are finite, texts without NUL and whole surrogate pairs."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, json_schema_extra=document_texts)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        return without_most_unknown(value, frozenset(cls.model_fields)) if isinstance(value, dict) else value

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any, info: ValidationInfo) -> Any:
        if _is_unusable(value):
            raise PydanticCustomError("text_unusable", "A text holds NUL or half a surrogate pair.")
        return whole_number(value) if _is_whole(cls, info) else value


class QueryParameters(Schema):
    """A query string, in which everything is text. Whole numbers are written in digits alone."""

    model_config = ConfigDict(allow_inf_nan=False, json_schema_extra=document_texts)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any, info: ValidationInfo) -> Any:
        if _is_unusable(value):
            raise Invalid("value_unusable", "The request names something that no name or number can be.")
        return _in_digits(value) if _is_whole(cls, info) else value


class Reply(BaseModel):
    """What the api answers. Members may be added in later releases, so readers ignore what they do not know."""

    model_config = ConfigDict(use_attribute_docstrings=True, from_attributes=True)


def _is_unusable(value: Any) -> bool:
    """Without recursion: JSON may be nested deeper than Python's stack is. Objects in a list look at themselves."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if _UNUSABLE.search(part):
                return True
        elif isinstance(part, dict):
            waiting += part.keys()
            waiting += part.values()
        elif isinstance(part, list):
            waiting += [inner for inner in part if not isinstance(inner, dict)]
    return False


def _in_digits(value: Any) -> Any:
    """Texts such as ``1_0``, `` 1`` and ``+1``, which Python reads as numbers too, are none."""
    if isinstance(value, str) and _DIGITS.fullmatch(value) is None:
        raise PydanticCustomError("int_parsing", "A whole number is written in digits alone.")
    return value


def _is_whole(model: type[BaseModel], info: ValidationInfo) -> bool:
    annotation = model.model_fields[info.field_name or ""].annotation
    return annotation is int or int in get_args(annotation) or any(int in get_args(one) for one in get_args(annotation))


IN_DIGITS = BeforeValidator(_in_digits)
"""For whole numbers in a path or a header; behind their bounds, which pydantic else does not tell the document."""
AS_IN_JSON = BeforeValidator(whole_number)
"""The same for whole numbers in a JSON body that is no `RequestBody`."""


def _written(value: Any) -> Any:
    """Numbers are no moments, though pydantic would count them from 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise PydanticCustomError("moment_invalid", "A moment is a text as RFC 3339 has it: 2026-01-31T12:00:00Z.")


def _within_years(value: datetime) -> datetime:
    """In UTC, where PostgreSQL and the ledger keep it: an offset may lead out of the years 1 to 9999."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment_invalid", "A moment lies in the years 1 to 9999 of UTC.") from None


Moment = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(_written),
    AfterValidator(_within_years),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment that a caller names, with its offset; in UTC once it is read."""
