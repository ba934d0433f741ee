"""Predictions beside their inputs, written to a file as they come."""

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tidemill.kit.errors import Conflict, Invalid, Unsupported
from tidemill.schemas.predictions import PredictReply, RowPrediction

Row = dict[str, Any]
_MOST_PARTS = 100
_MOST_WIDENED = 50
"""Times that a file of CSV gets more columns, for each of which it is written anew."""


def flat(reply: PredictReply, rows: Sequence[Row]) -> list[Row]:
    """Per row: the id, the prediction, a probability per class, the version that answered, and the inputs.

    An input that is named like one of these is called ``input_NAME``.
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
    taken = {*answered, *row}
    return answered | {name if name not in answered else _free(name, taken): value for name, value in row.items()}


def _free(name: str, taken: set[str]) -> str:
    """Another name for an input, in the same way for each row of the same names."""
    while name in taken:
        name = f"input_{name}"
    return name


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
        self._widened = 0

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
        names = list(dict.fromkeys(name for row in rows for name in row))
        if self._csv is None:
            self._csv = _begun(self._stream, names)
        elif new := [name for name in names if name not in set(self._csv.fieldnames)]:
            self._widen([*self._csv.fieldnames, *new])
        self._csv.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

    def _widen(self, names: list[str]) -> None:
        """Rows may have members that none before had: what is written gets these columns, too, in a part of its own."""
        self._widened += 1
        if self._widened > _MOST_WIDENED:
            raise Invalid("columns_differ", "The rows have ever other members; save the predictions as .ndjson.")
        narrow = self._part
        self._stream.close()
        self._part, self._stream = _new_part(self._path)
        self._csv = _begun(self._stream, names)
        with narrow.open(newline="", encoding="utf-8") as stream:
            self._csv.writerows(csv.DictReader(stream))
        self._stream.flush()
        narrow.unlink()


def _begun(stream: IO[str], names: list[str]) -> "csv.DictWriter[str]":
    writer = csv.DictWriter(stream, names, restval="")
    writer.writeheader()
    return writer


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
