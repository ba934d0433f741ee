"""The holdout of a model version: truth, the model's and the baseline's answers, row by row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.evaluation.statistics import Floats, Scores
from tidemill.kit.errors import Invalid
from tidemill.kit.labels import label_key

_PROBABILITY = "probability_"
_BASELINE_PROBABILITY = "baseline_probability_"
_GROUP = "group"


@dataclass(frozen=True)
class Holdout:
    """n rows. ``row`` are positions in the dataset; ``truth`` is numbers, or positions in ``classes``.

    ``group``: a number per row where rows of one group belong together, and are resampled together.
    """

    task: str
    classes: tuple[Any, ...]
    row: npt.NDArray[np.int64]
    truth: Floats
    scores: Scores
    baseline: Scores | None
    group: npt.NDArray[np.int64] | None = None

    def sample(self, most: int, seed: int) -> "Holdout":
        """At most ``most`` rows, drawn without replacement, in their order."""
        if len(self.row) <= most:
            return self
        return self.only(np.sort(np.random.default_rng(seed).choice(len(self.row), most, replace=False)))

    def only(self, picked: npt.NDArray[np.int64]) -> "Holdout":
        """The rows at these positions of the holdout."""
        return replace(
            self,
            row=self.row[picked],
            truth=self.truth[picked],
            scores=_pick(self.scores, picked),
            baseline=None if self.baseline is None else _pick(self.baseline, picked),
            group=None if self.group is None else self.group[picked],
        )


def read_holdout(path: Path, task: str, classes: list[Any] | None) -> Holdout:
    """Raises Invalid if the file lacks what ``task`` needs."""
    table = pq.read_table(path)
    known = tuple(classes or ())
    missing = {"row", "truth", "prediction"} - set(table.column_names)
    if missing or (task != "regression" and len(known) < 2):
        raise Invalid("holdout_incomplete", "The stored holdout lacks columns or classes that its task needs.")
    baseline = None
    if "baseline_prediction" in table.column_names:
        baseline = _scores(table, "baseline_prediction", _BASELINE_PROBABILITY, task, known)
    scores = _scores(table, "prediction", _PROBABILITY, task, known)
    truth = positions(table["truth"].to_pylist(), known) if task != "regression" else _numbers(table["truth"])
    group = table[_GROUP].to_numpy().astype(np.int64) if _GROUP in table.column_names else None
    return Holdout(task, known, table["row"].to_numpy().astype(np.int64), truth, scores, baseline, group)


def write_holdout(path: Path, holdout: Holdout) -> None:
    """The same file that training writes."""
    columns: dict[str, Any] = {"row": holdout.row, "truth": _shown(holdout, holdout.truth)}
    if holdout.group is not None:
        columns[_GROUP] = holdout.group
    _put(columns, holdout, holdout.scores, "prediction", _PROBABILITY)
    if holdout.baseline is not None:
        _put(columns, holdout, holdout.baseline, "baseline_prediction", _BASELINE_PROBABILITY)
    pq.write_table(pa.table(columns), path, compression="zstd")


def positions(labels: list[Any], classes: tuple[Any, ...]) -> Floats:
    """Where each label stands in ``classes``. Raises Invalid for one that is no class."""
    by_key = {label_key(label): position for position, label in enumerate(classes)}
    try:
        return np.array([by_key[label_key(label)] for label in labels], dtype=np.float64)
    except (KeyError, TypeError):
        raise Invalid("label_unknown", "A label is none of the model's classes.") from None


def _scores(table: pa.Table, name: str, prefix: str, task: str, classes: tuple[Any, ...]) -> Scores:
    if task == "regression":
        return Scores(_numbers(table[name]))
    names = [f"{prefix}{label}" for label in classes]
    probabilities = None
    if all(column in table.column_names for column in names):
        probabilities = np.column_stack([_numbers(table[column]) for column in names])
    return Scores(positions(table[name].to_pylist(), classes), probabilities)


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _pick(scores: Scores, picked: npt.NDArray[np.int64]) -> Scores:
    probabilities = None if scores.probabilities is None else scores.probabilities[picked]
    return Scores(scores.prediction[picked], probabilities)


def _shown(holdout: Holdout, values: Floats) -> Any:
    return values if holdout.task == "regression" else [holdout.classes[int(value)] for value in values]


def _put(columns: dict[str, Any], holdout: Holdout, scores: Scores, name: str, prefix: str) -> None:
    columns[name] = _shown(holdout, scores.prediction)
    if scores.probabilities is not None:
        for position, label in enumerate(holdout.classes):
            columns[f"{prefix}{label}"] = scores.probabilities[:, position]
