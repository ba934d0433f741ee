"""Slices of a report from columns of rows, and columns from a ledger export."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from tidemill.training.live_rows import Columns, ServedModel, read_rows
from tidemill.training.live_slice import MIN_LABELS, measure_slice

BINARY = ServedModel(name="m", number=1, task="binary", classes=[False, True], metric="roc_auc")


def _columns(tmp_path: Path, model: ServedModel, lines: list[dict[str, object]]) -> Columns:
    file = tmp_path / "rows.ndjson"
    file.write_bytes(b"".join(orjson.dumps({"model": "m:1", "at": 0.0, **line}) + b"\n" for line in lines))
    return read_rows(file, {"m:1": model})["m:1"]


def _output(p: float) -> dict[str, object]:
    return {"prediction": p > 0.5, "probabilities": {"true": p, "false": 1 - p}}


def test_probabilities_are_found_by_the_text_of_their_class(tmp_path: Path) -> None:
    columns = _columns(tmp_path, BINARY, [{"output": _output(0.75), "truth": True}, {"output": _output(0.25)}])
    assert columns.scores.tolist() == [0.75, 0.25]
    assert columns.predicted.tolist() == [1, 0]
    assert columns.labelled.tolist() == [True, False]
    assert columns.probabilities is not None
    assert columns.probabilities.tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_a_truth_that_is_no_class_counts_as_invalid_and_not_as_labelled(tmp_path: Path) -> None:
    columns = _columns(
        tmp_path, BINARY, [{"output": _output(0.75), "truth": "maybe"}, {"output": _output(0.7), "truth": 1}]
    )
    assert (columns.invalid_truths, int(columns.labelled.sum())) == (2, 0)
    texts = _columns(tmp_path, BINARY, [{"output": _output(0.75), "truth": "true"}])
    assert texts.truth.tolist() == [1.0]


def test_one_row_without_probabilities_leaves_only_metrics_of_labels(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [{"output": _output(p), "truth": p > 0.4} for p in np.linspace(0, 1, 60).tolist()]
    lines.append({"output": {"prediction": True}, "truth": True})
    found = measure_slice(_columns(tmp_path, BINARY, lines), BINARY, seed=0)
    assert {metric.name for metric in found.metrics} == {"accuracy", "balanced_accuracy", "f1"}
    assert any("no probabilities" in note for note in found.notes)


def test_a_mean_over_classes_gets_no_verdict_where_a_class_has_no_labelled_row(tmp_path: Path) -> None:
    holdout = {
        name: {"value": 0.6, "low": 0.58, "high": 0.62} for name in ("accuracy", "balanced_accuracy", "f1_macro")
    }
    model = ServedModel(
        name="m", number=1, task="multiclass", metric="f1_macro", classes=["a", "b", "rare"], holdout=holdout
    )
    lines: list[dict[str, object]] = [
        {"output": {"prediction": truth}, "truth": truth} for truth in ("a", "b") for _ in range(100)
    ]
    found = measure_slice(_columns(tmp_path, model, lines), model, seed=0)
    assert {metric.name for metric in found.metrics} == {"accuracy"}
    assert found.metric == "accuracy"
    assert any("means over all classes" in note for note in found.notes)
    lines.append({"output": {"prediction": "a"}, "truth": "rare"})
    with_rare = measure_slice(_columns(tmp_path, model, lines), model, seed=0)
    verdicts = {metric.name: (metric.live.low, metric.verdict) for metric in with_rare.metrics}
    # One row of a class is missing from every third resample: there is a value, and no interval to judge it by.
    assert verdicts["f1_macro"] == verdicts["balanced_accuracy"] == (None, "not_enough_labels")


def test_few_labels_give_no_verdict_but_say_how_many_are_needed(tmp_path: Path) -> None:
    model = BINARY.model_copy(update={"holdout": {"accuracy": {"value": 0.9, "low": 0.89, "high": 0.91}}})
    lines = [{"output": _output(p), "truth": p > 0.4} for p in np.linspace(0, 1, 20).tolist()]
    found = measure_slice(_columns(tmp_path, model, lines), model, seed=0)
    accuracy = next(metric for metric in found.metrics if metric.name == "accuracy")
    assert accuracy.verdict == "not_enough_labels"
    assert accuracy.labels_needed is not None
    assert accuracy.labels_needed >= MIN_LABELS
    assert found.representativeness.detail == "Every row has its truth."


def test_the_same_rows_and_seed_give_the_same_slice(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [{"output": _output(float(p)), "truth": bool(random.random() < p)} for p in random.random(200)]
    columns = _columns(tmp_path, BINARY, lines)
    assert measure_slice(columns, BINARY, seed=5) == measure_slice(columns, BINARY, seed=5)


def test_regression_reads_numbers_even_if_they_were_told_as_text(tmp_path: Path) -> None:
    model = ServedModel(name="m", number=1, task="regression", metric="rmse")
    lines: list[dict[str, object]] = [
        {"output": {"prediction": 1.0}, "truth": "1.5"},
        {"output": {"prediction": 2.0}, "truth": "x"},
    ]
    columns = _columns(tmp_path, model, lines)
    assert columns.truth[0] == pytest.approx(1.5)
    assert columns.invalid_truths == 1


def test_every_truth_about_a_model_of_unknown_task_counts_as_a_label(tmp_path: Path) -> None:
    model = ServedModel(name="m", number=1)
    lines: list[dict[str, object]] = [{"output": {"prediction": [1, 2]}, "truth": "x"}, {"output": "y"}]
    found = measure_slice(_columns(tmp_path, model, lines), model, seed=0)
    assert (found.predictions, found.labelled, found.invalid_truths) == (2, 1, 0)
