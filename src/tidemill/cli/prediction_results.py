"""Predictions beside their inputs, written to a file as they come."""

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tidemill.kit.errors import Conflict, Unsupported
from tidemill.schemas.predictions import PredictReply, RowPrediction

Row = dict[str, Any]
_MOST_PARTS = 100


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
    """A CSV or NDJSON file, told apart by its ending. It appears under its name only when it is complete.

    Until then it is a file beside it that ends in ``.part``, which stays if that never happens: it has the ids of what
    was predicted. So what an earlier attempt left is never written over. ``tell`` is told where it is if the user ends
    the command.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        if path.suffix.lower() not in (".csv", ".ndjson", ".jsonl"):
            raise Unsupported("file_type_unsupported", "Predictions are saved as .csv, .ndjson or .jsonl.")
        self._path = path
        self._tell = tell
        self._part, self._stream = _new_part(path)
        self._csv: csv.DictWriter[str] | None = None
        self._is_empty = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(*([OSError] if error is not None else [])):  # a full disk is told once
            self._stream.close()
        if error is None:
            self._part.replace(self._path)
        elif self._is_empty:
            self._part.unlink(missing_ok=True)
        elif isinstance(error, Exception):
            error.add_note(self._told)
        else:
            self._tell(self._told)

    @property
    def _told(self) -> str:
        return f"predictions made until then are in {self._part}"

    def write(self, rows: Sequence[Row]) -> None:
        self._is_empty = False
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


def _new_part(path: Path) -> tuple[Path, IO[str]]:
    """A file that was not there before. Raises Conflict where a hundred are."""
    for number in range(1, _MOST_PARTS + 1):
        part = path.with_name(f"{path.name}.part" if number == 1 else f"{path.name}.{number}.part")
        try:
            return part, part.open("x", newline="", encoding="utf-8")
        except FileExistsError:
            continue
    raise Conflict(
        "parts_too_many",
        f"{path.name}.part and {_MOST_PARTS - 1} more hold predictions of attempts that failed; move them away.",
    )


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
