"""Reads the lines of a shipped segment: which can be stored, and which never can."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tidemill.kit import ids
from tidemill.kit.json_shape import may_exceed_64_bits
from tidemill.kit.limits import MAX_RECORD_BYTES
from tidemill.kit.names import NAME_PATTERN
from tidemill.schemas.serving import RejectedRow

_NAME = re.compile(NAME_PATTERN)
_OPTIONAL_TEXT = re.compile("[^\x00]{0,200}")
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_CLOCK_TOLERANCE = timedelta(hours=26)
_MAX_NUMBER = 999_999_999


@dataclass(frozen=True, slots=True)
class IncomingRow:
    """A line that can be stored. ``inputs`` and ``output`` are JSON, every digit as it was written."""

    line: int
    prediction_id: str
    predicted_at: datetime
    deployment: str
    model_name: str
    model_version: int
    request_id: str | None
    principal: str | None
    inputs: str
    output: str


def read_lines(lines: Iterable[bytes], now: datetime) -> tuple[list[IncomingRow], list[RejectedRow]]:
    """Split lines into rows to store and rows that can never be stored. Lines are counted from 1."""
    rows: list[IncomingRow] = []
    rejected: list[RejectedRow] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(number, line, now))
        except _Unusable as unusable:
            rejected.append(RejectedRow(line=number, code=unusable.code, detail=str(unusable)))
    return rows, rejected


def days_of(rows: Sequence[IncomingRow]) -> set[datetime]:
    """The first moments of the days (UTC) that ``rows`` lie in."""
    return {row.predicted_at.replace(hour=0, minute=0, second=0, microsecond=0) for row in rows}


class _Unusable(Exception):
    """Says what is wrong, never the value."""

    def __init__(self, detail: str, code: str = "ledger_row_invalid") -> None:
        super().__init__(detail)
        self.code = code


def _row(number: int, line: bytes, now: datetime) -> IncomingRow:
    if len(line) > MAX_RECORD_BYTES:
        raise _Unusable(f"The line is longer than {MAX_RECORD_BYTES} bytes.", "ledger_row_too_large")
    try:
        body = orjson.loads(line)
        if may_exceed_64_bits(line):
            body = json.loads(line)  # slower, but exact for integers of more than 64 bits
    except (ValueError, RecursionError):
        raise _Unusable("The line is not JSON.") from None
    if not isinstance(body, dict):
        raise _Unusable("The line is not a JSON object.")
    prediction_id = body.get("prediction_id")
    if not isinstance(prediction_id, str) or not ids.is_id(prediction_id, ids.PREDICTION):
        raise _Unusable("prediction_id is not the id of a prediction.")
    if not isinstance(body.get("inputs"), dict) or "output" not in body:
        raise _Unusable("inputs or output is missing.")
    return IncomingRow(
        line=number,
        prediction_id=prediction_id,
        predicted_at=_predicted_at(body.get("predicted_at"), prediction_id, now),
        deployment=_name(body, "deployment"),
        model_name=_name(body, "model_name"),
        model_version=_version(body.get("model_version")),
        request_id=_optional_text(body, "request_id"),
        principal=_optional_text(body, "principal"),
        inputs=_written(body["inputs"]),
        output=_written(body["output"]),
    )


def _written(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits, or nested deeper than it writes
        pass
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise _Unusable("inputs or output is nested too deeply.") from None


def _predicted_at(text: Any, prediction_id: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        made_at = ids.created_at(prediction_id)
    except (TypeError, ValueError, OverflowError):
        raise _Unusable("predicted_at is not a time.") from None
    if moment != made_at:
        raise _Unusable("predicted_at is not the moment in the prediction's id.")
    if not _EARLIEST <= made_at <= now + _CLOCK_TOLERANCE:
        raise _Unusable("predicted_at lies in the future or before 2020.")
    return made_at


def _name(body: dict[str, Any], member: str) -> str:
    value = body.get(member)
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise _Unusable(f"{member} is not a name.")
    return value


def _version(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_NUMBER:
        raise _Unusable("model_version is not the number of a version.")
    return value


def _optional_text(body: dict[str, Any], member: str) -> str | None:
    value = body.get(member)
    if value is not None and (not isinstance(value, str) or _OPTIONAL_TEXT.fullmatch(value) is None):
        raise _Unusable(f"{member} is not a short text.")
    return value
