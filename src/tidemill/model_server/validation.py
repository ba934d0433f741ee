"""Checks a table against a model's signature, by MLflow's rules, and tells everything that is wrong at once.

Required and optional columns; columns that the signature does not name are ignored; integers may widen to floats where
no digit is lost; floats without a fraction are integers, as in JSON Schema; texts are never turned into numbers; a
boolean is no integer; infinity is refused.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.numbers import whole_number
from tidemill.kit.signatures import Column, integer_fits, moment_of, number_fits
from tidemill.model_server.tables import MISSING, InputTable

Columns = dict[str, Sequence[Any]]
"""By name, in the signature's order; null is None, times are `datetime` in UTC without a zone."""

MAX_PROBLEMS = 100
_NONE = type(None)
_MISSING = type(MISSING)
_NUMBERS = frozenset({int, float})
INTEGERS = frozenset({"integer", "long"})
ACCEPTED: dict[str, frozenset[type]] = {
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),
    "long": frozenset({int}),
    "float": _NUMBERS,
    "double": _NUMBERS,
    "string": frozenset({str}),
    "datetime": frozenset({str}),
    "binary": frozenset({str}),
}
EXPECTED = {
    "boolean": "true or false",
    "integer": "an integer",
    "long": "an integer",
    "float": "a number",
    "double": "a number",
    "string": "a text",
    "datetime": "a time in ISO 8601 between 1678 and 2261, to the microsecond at most, as a text",
    "binary": "bytes in base64, as a text",
}


@dataclass
class _Findings:
    problems: list[Problem] = field(default_factory=list)
    total: int = 0

    def add(self, place: str, code: str, detail: str) -> None:
        self.total += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(place, code, detail))


def validate(table: InputTable, signature: Sequence[Column]) -> Columns:
    """The signature's columns of ``table``. Raises Invalid naming at most 100 places that are wrong, never a value."""
    findings = _Findings()
    columns = {column.name: _column(table, column, findings) for column in signature}
    if findings.total:
        places = "1 place" if findings.total == 1 else f"{findings.total} places"
        detail = f"The input does not fit the model's signature in {places}."
        raise Invalid("inputs_invalid", detail, findings.problems)
    return columns


def _column(table: InputTable, column: Column, findings: _Findings) -> Sequence[Any]:
    values = table.column(column.name)
    if values is None:
        if column.required and table.row_count:
            findings.add(table.place_of_column(column.name), "column_missing", "The model requires this column.")
        return [None] * table.row_count
    types = set(map(type, values))
    if _MISSING in types:
        _tell_missing(table, column, values, findings)
        types.discard(_MISSING)
    accepted = ACCEPTED.get(column.type)
    if float in types and column.type in INTEGERS:
        values = [whole_number(value) for value in values]
        types = set(map(type, values)) - {_MISSING}
    fits = accepted is None or types <= accepted or (column.nullable and types <= accepted | {_NONE})
    if not fits:
        _tell_wrong_types(table, column, values, findings)
    values = [None if value is MISSING else value for value in values]
    # Whether a nested type fits is for the model's own runtime to tell.
    check = _CHECKS.get(column.type, _check_nested) if fits and column.type != "string" else None
    return check(table, column, values, findings) if check else values


def _tell_missing(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> None:
    if column.required:
        for row, value in enumerate(values):
            if value is MISSING:
                findings.add(table.place(row, column.name), "value_missing", "The model requires this column.")


def _tell_wrong_types(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> None:
    accepted = ACCEPTED[column.type]
    for row, value in enumerate(values):
        if value is MISSING or type(value) in accepted or (value is None and column.nullable):
            continue
        code = "value_null" if value is None else "type_mismatch"
        findings.add(table.place(row, column.name), code, f"Expected {EXPECTED[column.type]}.")


def is_writable(value: Any) -> bool:
    """Whether a value from JSON can be written as such within a message or a line of the ledger.

    False for an integer of more than 64 bits, and for what is nested deeper than the writer goes.
    """
    try:
        orjson.dumps([[[[value]]]])
    except TypeError:
        return False
    return True


def _check_nested(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> Sequence[Any]:
    for row, value in enumerate(values):
        if not is_writable(value):
            detail = "It holds an integer of more than 64 bits, or is nested too deeply."
            findings.add(table.place(row, column.name), "out_of_range", detail)
    return values


def _check_integers(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> Sequence[Any]:
    present = [value for value in values if value is not None]
    if present and not (integer_fits(min(present), column.type) and integer_fits(max(present), column.type)):
        for row, value in enumerate(values):
            if value is not None and not integer_fits(value, column.type):
                findings.add(table.place(row, column.name), "out_of_range", f"Too large for the type {column.type}.")
    return values


def _check_numbers(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> Sequence[Any]:
    for row, value in enumerate(values):
        if value is not None and not number_fits(value, column.type):
            detail = f"Not a finite number that the type {column.type} can hold exactly enough."
            findings.add(table.place(row, column.name), "out_of_range", detail)
    return values


def _parser(parse: Callable[[str], Any]) -> "_Check":
    def check(table: InputTable, column: Column, values: Sequence[Any], findings: _Findings) -> Sequence[Any]:
        parsed: list[Any] = []
        for row, value in enumerate(values):
            parsed.append(None if value is None else parse(value))
            if value is not None and parsed[-1] is None:
                findings.add(table.place(row, column.name), "type_mismatch", f"Expected {EXPECTED[column.type]}.")
        return parsed

    return check


def _base64_of(text: str) -> str | None:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return text


def _moment_of(text: str) -> datetime | None:
    moment = moment_of(text)
    return moment if moment is not None and 1678 <= moment.year <= 2261 else None  # what 64-bit nanoseconds can hold


_Check = Callable[[InputTable, Column, Sequence[Any], _Findings], Sequence[Any]]
_CHECKS: dict[str, _Check] = {
    "integer": _check_integers,
    "long": _check_integers,
    "float": _check_numbers,
    "double": _check_numbers,
    "datetime": _parser(_moment_of),
    "binary": _parser(_base64_of),
}
