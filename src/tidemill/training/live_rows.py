"""Reads a ledger export into columns, one set per model version."""

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel

from tidemill.kit.labels import Label, is_finite_number, label_key, label_of_text, number_of_text

_SECONDS_PER_DAY = 86_400
_NONE = -1


class ServedModel(BaseModel):
    """What is known of one model version. ``holdout``: metric to ``{"value", "low", "high"}``."""

    name: str
    number: int
    task: str | None = None
    classes: list[Any] | None = None
    metric: str | None = None
    holdout: dict[str, Any] = {}


@dataclass(frozen=True)
class Columns:
    """Rows of one model version, column by column.

    scores: the predicted number, the probability of the second class, or that of the most probable class; NaN if none.
    predicted: index into the classes, -1 for none of them. truth: class index or number, NaN without a (usable) truth.
    delay_seconds: NaN without a truth. probabilities: rows x classes, None unless every row has them.
    uniform: whether the row speaks for all rows; the others were read in addition, for their truth.
    """

    days: NDArray[np.int32]
    scores: NDArray[np.float64]
    predicted: NDArray[np.int32]
    truth: NDArray[np.float64]
    delay_seconds: NDArray[np.float64]
    probabilities: NDArray[np.float32] | None
    invalid_truths: int
    uniform: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.days)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.truth)

    @property
    def told(self) -> NDArray[np.bool_]:
        """Rows with a truth, usable or not."""
        return ~np.isnan(self.delay_seconds)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Columns":
        return replace(
            self,
            days=self.days[chosen],
            scores=self.scores[chosen],
            predicted=self.predicted[chosen],
            truth=self.truth[chosen],
            delay_seconds=self.delay_seconds[chosen],
            uniform=self.uniform[chosen],
            probabilities=None if self.probabilities is None else self.probabilities[chosen],
        )

    def without_model(self) -> "Columns":
        """The rows where only their counts matter: no probabilities, and truths of no common meaning."""
        return replace(self, probabilities=None, predicted=np.full_like(self.predicted, _NONE))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """All rows of versions that share their task and classes."""
    matrices = [part.probabilities for part in parts]
    whole = [matrix for matrix in matrices if matrix is not None]
    return Columns(
        days=np.concatenate([part.days for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        delay_seconds=np.concatenate([part.delay_seconds for part in parts]),
        probabilities=np.concatenate(whole) if len(whole) == len(matrices) else None,
        invalid_truths=sum(part.invalid_truths for part in parts),
        uniform=np.concatenate([part.uniform for part in parts]),
    )


@dataclass
class _Builder:
    """Grows the columns of one model version row by row."""

    model: ServedModel
    days: "array[int]" = field(default_factory=lambda: array("i"))
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    predicted: "array[int]" = field(default_factory=lambda: array("i"))
    truth: "array[float]" = field(default_factory=lambda: array("d"))
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    probabilities: "array[float]" = field(default_factory=lambda: array("f"))
    uniform: bytearray = field(default_factory=bytearray)
    invalid_truths: int = 0
    _every_row_has_probabilities: bool = True

    def __post_init__(self) -> None:
        self._classes: list[Label] = list(self.model.classes or [])
        self._index = {label_key(label): index for index, label in enumerate(self._classes)}
        self._by_text: dict[str, int] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        self.days.append(int(row["at"] // _SECONDS_PER_DAY))
        output = row["output"]
        output = output if isinstance(output, dict) else {"prediction": output}
        self._add_prediction(output)
        truth = self._truth(row["truth"]) if "truth" in row else math.nan
        self.invalid_truths += "truth" in row and math.isnan(truth)
        self.truth.append(truth)
        self.delays.append(row.get("delay", math.nan))
        self.uniform.append(row.get("uniform", True))

    def _add_prediction(self, output: Mapping[str, Any]) -> None:
        prediction = output.get("prediction")
        if not self._classes:
            self.predicted.append(_NONE)
            self.scores.append(float(prediction) if is_finite_number(prediction) else math.nan)  # type: ignore[arg-type]
            return
        known = isinstance(prediction, (bool, int, float, str))
        self.predicted.append(self._index.get(label_key(prediction), _NONE) if known else _NONE)  # type: ignore[arg-type]
        row = self._row_of_probabilities(output.get("probabilities"))
        self._every_row_has_probabilities = self._every_row_has_probabilities and row is not None
        if row is None:
            self.scores.append(math.nan)
            row = [math.nan] * len(self._classes)
        else:
            self.scores.append(row[1] if len(row) == 2 else max(row))
        self.probabilities.extend(row)

    def _row_of_probabilities(self, probabilities: object) -> list[float] | None:
        if not isinstance(probabilities, dict) or len(probabilities) != len(self._classes):
            return None
        row = [math.nan] * len(self._classes)
        for text, probability in probabilities.items():
            index = self._index_of_text(text)
            if index == _NONE or not is_finite_number(probability) or not 0 <= probability <= 1:
                return None
            row[index] = float(probability)
        return None if any(math.isnan(value) for value in row) else row

    def _truth(self, truth: Label | None) -> float:
        if self.model.task is None:
            return 0.0  # there is a truth; nobody knows what it should look like
        if not isinstance(truth, (bool, int, float, str)):
            return math.nan
        if not self._classes:
            number = number_of_text(truth) if isinstance(truth, str) else truth
            return float(number) if number is not None and is_finite_number(number) else math.nan
        index = self._index.get(label_key(truth), _NONE)
        if index == _NONE and isinstance(truth, str):
            index = self._index_of_text(truth)
        return math.nan if index == _NONE else float(index)

    def _index_of_text(self, text: str) -> int:
        if text not in self._by_text:
            label = label_of_text(text, self._classes)
            index = _NONE if label is None else self._index[label_key(label)]
            if len(self._by_text) > 10 * len(self._classes):
                return index  # texts that are no class must not pile up
            self._by_text[text] = index
        return self._by_text[text]

    def build(self) -> Columns:
        matrix = None
        if self._classes and self._every_row_has_probabilities:
            matrix = np.array(self.probabilities, dtype=np.float32).reshape(-1, len(self._classes))
        return Columns(
            days=np.array(self.days, dtype=np.int32),
            scores=np.array(self.scores, dtype=np.float64),
            predicted=np.array(self.predicted, dtype=np.int32),
            truth=np.array(self.truth, dtype=np.float64),
            delay_seconds=np.array(self.delays, dtype=np.float64),
            probabilities=matrix,
            invalid_truths=self.invalid_truths,
            uniform=np.frombuffer(bytes(self.uniform), dtype=np.bool_),
        )


def read_rows(path: Path, models: Mapping[str, ServedModel]) -> dict[str, Columns]:
    """Columns per key of ``models`` from NDJSON lines ``{"model", "at", "output"[, "truth", "delay"][, "uniform"]}``.

    ``at`` is in seconds since 1970 (UTC), ``delay`` in seconds; ``uniform`` is false for rows read for their truth.
    """
    builders = {key: _Builder(model) for key, model in models.items()}
    with path.open("rb") as lines:
        for line in lines:
            row = _decoded(line)
            builders[row["model"]].add(row)
    return {key: builder.build() for key, builder in builders.items()}


def _decoded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # an integer that no float can hold, which JSON may have
        return json.loads(line)
