"""Adopt a model that somebody else logged to MLflow: look, try, measure, pack. Runs in a child of a worker."""

import math
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.adapters.bundles import pack_bundle
from tidemill.adapters.data_models import DataModel, find_data_model
from tidemill.adapters.mlmodel import read_card
from tidemill.adapters.model_loading import PYFUNC, LoadedModel, load_model
from tidemill.evaluation.resampling import Bootstrap, interval
from tidemill.evaluation.statistics import Floats, Scores, is_comparable, is_scorable
from tidemill.kit.errors import Invalid
from tidemill.kit.metrics import METRICS
from tidemill.kit.near_names import check_column
from tidemill.kit.reporter import Reporter
from tidemill.training.example import input_example
from tidemill.training.foreign import signature_of
from tidemill.training.holdouts import Holdout, positions, write_holdout
from tidemill.training.scoring import as_scores
from tidemill.training.signature_frames import column_names, frame_for, read_rows, row_count

_MOST_ROWS = 200_000
_MOST_CLASSES = 100
_SEED = 0

Record = dict[str, Any]


def adopt(request: Record, reporter: Reporter) -> Record:
    """``request``: ``directory`` with the model's files, ``output`` to write to, ``allow_pickle``, ``evaluation``.

    ``evaluation`` is None or ``{"parts", "target", "task"}``. Writes ``bundle.tar`` and, with an evaluation,
    ``holdout.parquet``. Raises Forbidden (``pickle_not_allowed``) for a format that runs code, Invalid for a model
    that has no usable signature, cannot be loaded, or fails on its own input example.
    """
    directory, output = Path(request["directory"]), Path(request["output"])
    card = read_card(directory)
    signature = signature_of(card)
    runs_code = not isinstance(find_data_model(card), DataModel)
    reporter.progress("loading", 0, 3, "Loading the model")
    model = load_model(directory, PYFUNC, runs_code=request["allow_pickle"])
    warnings = _try_example(model, directory, card.content, signature)
    measured: Record = {"task": None, "target": None, "classes": _json_labels(model.classes), "metrics": {}}
    if request["evaluation"] is not None:
        reporter.progress("evaluating", 1, 3, "Predicting the evaluation dataset")
        measured = _measure(model, signature, request["evaluation"], output)
    reporter.progress("packing", 2, 3, "Packing the bundle")
    bundle = pack_bundle(directory, output / "bundle.tar")
    return {
        **measured,
        "signature": signature,
        "warnings": warnings,
        "runs_code": runs_code,
        "bundle": {"path": str(bundle.path), "sha256": bundle.sha256, "size_bytes": bundle.size_bytes},
    }


def _try_example(model: LoadedModel, directory: Path, content: Record, signature: Record) -> list[Record]:
    example = input_example(directory, content, signature)
    if example is None:
        detail = "The model has no input example, so it was loaded but not tried"
        return [{"code": "no_input_example", "severity": "info", "detail": detail}]
    model.predict(example)
    return []


@dataclass(frozen=True)
class _Truth:
    task: str
    classes: tuple[Any, ...]
    values: Floats
    row: Any


def _measure(model: LoadedModel, signature: Record, evaluation: Record, output: Path) -> Record:
    parts = [Path(part) for part in evaluation["parts"]]
    truth = _truth(model, parts, evaluation["target"], evaluation["task"])
    outputs = model.predict(frame_for(parts, truth.row, signature))
    scores = as_scores(outputs, truth.task, truth.classes)
    holdout = Holdout(truth.task, truth.classes, truth.row, truth.values, scores, _naive(truth))
    write_holdout(output / "holdout.parquet", holdout)
    metrics = _metrics(holdout)
    scorable = [name for name in METRICS[truth.task] if is_scorable(name, scores)]
    return {
        "task": truth.task,
        "target": evaluation["target"],
        "classes": _json_labels(truth.classes) if truth.classes else None,
        "metrics": metrics,
        "metric": next(iter([*metrics, *scorable])),
        "holdout": str(output / "holdout.parquet"),
    }


def _truth(model: LoadedModel, parts: list[Path], target: str, task: str | None) -> _Truth:
    """Rows with a truth, at most 200,000 of them drawn at random."""
    rows = np.arange(row_count(parts), dtype=np.int64)
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _MOST_ROWS, replace=False))
    check_column(target, column_names(parts), "target")
    column = read_rows(parts, rows, [target])[target]
    known = ~np.asarray(column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False), dtype=bool)
    rows, labels = rows[known], [_label(value) for value in column.filter(pa.array(known)).to_pylist()]
    if not labels:
        raise Invalid("target_all_missing", "The target is missing in every row.")
    task, classes = _task(model, labels, task)
    if task == "regression":
        return _Truth(task, (), _numbers(labels), rows)
    return _Truth(task, classes, positions(labels, classes), rows)


def _label(value: Any) -> Any:
    """Days and moments as models answer them: as texts."""
    if isinstance(value, float) and math.isinf(value):
        raise Invalid("target_not_finite", "The target is infinite in some rows.")
    return value.isoformat() if isinstance(value, (date, time)) else value


def _task(model: LoadedModel, labels: list[Any], task: str | None) -> tuple[str, tuple[Any, ...]]:
    """A classifier's own classes decide; else text, booleans or two values mean classes, other numbers do not."""
    seen = tuple(sorted(set(labels)))
    classes = model.classes or seen
    if task is None:
        is_numeric = all(isinstance(label, (int, float)) and not isinstance(label, bool) for label in seen)
        if model.classes is None and is_numeric and len(seen) > 2:
            return "regression", ()
        task = "binary" if len(classes) == 2 else "multiclass"
    if task == "regression":
        return task, ()
    if not 2 <= len(classes) <= _MOST_CLASSES or (task == "binary") != (len(classes) == 2):
        raise Invalid("classes_unfit", f"The target has {len(classes)} classes, which do not fit the task {task}.")
    return task, classes


def _naive(truth: _Truth) -> Scores:
    """The mean, or the frequency of each class: what is known without looking at any feature."""
    count = len(truth.values)
    if truth.task == "regression":
        return Scores(np.full(count, truth.values.mean()))
    shares = np.bincount(truth.values.astype(np.intp), minlength=len(truth.classes)) / count
    return Scores(np.full(count, float(shares.argmax())), np.tile(shares, (count, 1)))


def _metrics(holdout: Holdout) -> Record:
    found = {}
    for name in METRICS[holdout.task]:
        if is_scorable(name, holdout.scores) and is_comparable(name, holdout.truth, len(holdout.classes)):
            try:
                value, low, high = interval(name, holdout.truth, holdout.scores, Bootstrap(seed=_SEED))
            except Invalid:  # undefined on these rows; the others still say something
                continue
            found[name] = {"value": value, "low": low, "high": high}
    return found


def _numbers(labels: list[Any]) -> Floats:
    try:
        return np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError):
        raise Invalid("target_not_numeric", "A regression needs a numeric target.") from None


def _json_labels(classes: tuple[Any, ...] | None) -> list[Any] | None:
    return None if classes is None else list(classes)
