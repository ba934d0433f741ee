"""Predictions beside their inputs, written to a file as they come."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidemill.kit.errors import Unsupported
from tidemill.schemas.predictions import PredictReply, RowPrediction

Row = dict[str, Any]


def flat(reply: PredictReply, rows: Sequence[Row]) -> list[Row]:
    """Per row: the id, the prediction, a probability per class, the version that answered, and the inputs.

    An input that is named like one of these is left out.
    """
    model = f"{reply.model_name}:{reply.model_version}"
    return [_beside(answer, model, row) for answer, row in zip(reply.predictions, rows, strict=True)]


def _beside(answer: RowPrediction, model: str, row: Row) -> Row:
    answered = {
        "prediction_id": answer.prediction_id,
        "prediction": answer.prediction,
        **{f"probability_{label}": share for label, share in (answer.probabilities or {}).items()},
        "model": model,
    }
    return answered | {name: value for name, value in row.items() if name not in answered}


class ResultFile:
    """A CSV or NDJSON file, told apart by its ending. It appears under its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in (".csv", ".ndjson", ".jsonl"):
            raise Unsupported("file_type_unsupported", "Predictions are saved as .csv, .ndjson or .jsonl.")
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._stream = self._part.open("w", newline="", encoding="utf-8")
        self._csv: csv.DictWriter[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stream.close()
        if error is None:
            self._part.replace(self._path)
        elif isinstance(error, Exception):
            error.add_note(f"predictions made until then are in {self._part}")

    def write(self, rows: Sequence[Row]) -> None:
        if self._path.suffix.lower() != ".csv":
            self._stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            self._write_csv(rows)
        self._stream.flush()

    def _write_csv(self, rows: Sequence[Row]) -> None:
        if self._csv is None:
            self._csv = csv.DictWriter(self._stream, list(rows[0]), restval="", extrasaction="ignore")
            self._csv.writeheader()
        self._csv.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
