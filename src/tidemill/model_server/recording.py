"""Predictions as answers and as lines of the ledger."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tidemill.kit import ids
from tidemill.kit.limits import MAX_RECORD_BYTES, MAX_ROW_BYTES
from tidemill.model_server.ledger.lines import encode
from tidemill.model_server.runtimes.base import ModelOutputs
from tidemill.model_server.validation import Columns
from tidemill.schemas.serving import DeploymentSpec

_COUNTER_BITS = 30
_RANDOM_BYTES = 4
_SEED_BYTES = 6


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked, for the ledger."""

    principal: str
    request_id: str | None


def prediction_ids(
    count: int, milliseconds: int | None = None, random_bytes: Callable[[int], bytes] = os.urandom
) -> tuple[list[str], datetime]:
    """UUIDv7 ids that sort in the order of the rows, and the moment (to the millisecond) that is in all of them.

    The random bits are 12 for the call, a counter that begins at random, and 32 for each row. ``milliseconds`` (Unix
    time; by default now) and ``random_bytes`` make the ids of a repeated request the same again.
    """
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    drawn = random_bytes(_SEED_BYTES + _RANDOM_BYTES * count)
    seed = int.from_bytes(drawn[:_SEED_BYTES], "big")
    head = f"{ids.PREDICTION}_{milliseconds:012x}7{seed & 0xFFF:03x}"
    start = (seed >> 12) & ((1 << (_COUNTER_BITS - 1)) - 1)
    tails = drawn[_SEED_BYTES:].hex()
    width = 2 * _RANDOM_BYTES
    made = [
        f"{head}{(0b10 << _COUNTER_BITS) | ((start + row) & ((1 << _COUNTER_BITS) - 1)):08x}"
        f"{tails[row * width : (row + 1) * width]}"
        for row in range(count)
    ]
    return made, datetime.fromtimestamp(milliseconds / 1000, UTC)


def label_text(label: Any) -> str:
    """A label as the key of a JSON object: texts as they are, others as JSON writes them."""
    return label if isinstance(label, str) else orjson.dumps(label).decode()


def output_rows(outputs: ModelOutputs) -> list[Any]:
    """Per row what is answered and recorded: the prediction, and probabilities where the model gives them."""
    if outputs.probabilities is None or outputs.classes is None:
        return [{"prediction": value} for value in outputs.prediction]
    labels = [label_text(label) for label in outputs.classes]
    return [
        {"prediction": value, "probabilities": dict(zip(labels, row, strict=True))}
        for value, row in zip(outputs.prediction, outputs.probabilities, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PredictedRows:
    """One request's rows, in order."""

    spec: DeploymentSpec
    prediction_ids: Sequence[str]
    predicted_at: datetime
    outputs: Sequence[Any]
    is_large: bool = False
    """Whether they are written out beside the event loop."""


class TooLargeToRecord(Exception):
    """``row``: the first one, from 0. is_output: because of what the model answered."""

    def __init__(self, row: int, is_output: bool) -> None:
        super().__init__()
        self.row = row
        self.is_output = is_output


def ledger_lines(rows: PredictedRows, columns: Columns, asker: Asker) -> bytes:
    """The lines that go to the ledger. NaN is written as null. Raises TooLargeToRecord."""
    spec, names = rows.spec, list(columns)
    shared = {
        "predicted_at": rows.predicted_at.isoformat(timespec="milliseconds"),
        "deployment": spec.name,
        "model_name": spec.model_name,
        "model_version": spec.model_version,
        "request_id": asker.request_id,
        "principal": asker.principal,
    }
    values = zip(*columns.values(), strict=True)
    lines = bytearray()
    for row, (made, inputs, output) in enumerate(zip(rows.prediction_ids, values, rows.outputs, strict=True)):
        record = {"prediction_id": made, **shared, "inputs": dict(zip(names, inputs, strict=True)), "output": output}
        line = orjson.dumps(record)
        _check_size(line, row, output)
        lines += encode(line)
    return bytes(lines)


def _check_size(line: bytes, row: int, output: Any) -> None:
    """JSON may be several times as large as the values in it: a control character takes six bytes."""
    if len(line) <= MAX_ROW_BYTES:
        return
    is_output = len(orjson.dumps(output)) > MAX_ROW_BYTES
    if is_output or len(line) > MAX_RECORD_BYTES:
        raise TooLargeToRecord(row, is_output)
