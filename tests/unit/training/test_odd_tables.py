"""Tables that no one would train on gladly: a model or a refusal that says why, never a failure of the job itself."""

import datetime as dt
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.training.tables import SilentReporter, prepared
from tidemill.kit.errors import Invalid
from tidemill.training.candidates import FAMILIES, known_points
from tidemill.training.entry import train
from tidemill.training.fitting import scores_of
from tidemill.training.library_errors import library_errors
from tidemill.training.pipelines import refit
from tidemill.training.search import TrialRecord

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries warn of on such data, children do not look at
ROWS = 120
X = np.random.default_rng(0).normal(size=ROWS)
Y = np.where(np.sin(37 * X) > 0, "b", "a")
EACH = np.arange(ROWS)
GREATEST = 1.7976931348623157e308

TRAINED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one number beyond 32-bit floats": ({"x": np.where(EACH == 3, 1e300, X), "y": Y}, {}),
    "numbers at both ends of floats": ({"x": GREATEST * np.sign(X) * np.abs(np.tanh(X)), "y": Y}, {}),
    "denormal numbers": ({"x": X * 1e-310, "z": X * 1e-200, "y": X}, {}),
    "integers beyond 2**53": (
        {"x": 2**53 + 7 * EACH[::-1] ** 2, "e": np.where(X > 0, 2**63 - 1, -(2**63)), "y": Y}, {},
    ),
    "classes beyond 2**53": ({"x": X, "y": np.where(X > 0, 2**53 + 1, 2**53 + 2)}, {}),
    "columns without a value": (
        {"x": X, "n": pa.nulls(ROWS), "t": pa.array([None] * ROWS, pa.timestamp("us")), "y": Y}, {},
    ),
    "classes that look like nothing": ({"x": X, "y": [("nan", "", " ", "None")[n % 4] for n in range(ROWS)]}, {}),
    "classes that differ by case, space and NUL": (
        {"x": X, "y": [("a", "A", "a ", "a\0")[n % 4] for n in range(ROWS)]}, {},
    ),
    "names that differ by case": ({"x": X, "X": X**2, "x ": X**3, '{"a":1}': X**4, "": X**5, "y": Y}, {}),
    "a huge text": ({"x": X, "s": [f"{'x' * 50_000}{n % 5}" for n in range(ROWS)], "y": Y}, {}),
    "rare class": ({"x": X, "y": ["a"] * (ROWS - 5) + ["b"] * 5}, {}),
    "nothing but zeros to count": ({"x": X, "y": np.where(EACH == 0, 1, 0)}, {"task": "regression", "trials": 2}),
    "great quantities": ({"x": X, "y": X * 1e29}, {"metric": "mae"}),
    "quantities beyond 2**53 with gaps": (
        {"x": X, "y": pa.array([None if n % 5 == 0 else 2**53 + 10**6 * n for n in range(ROWS)])}, {},
    ),
    "groups beyond 2**53": ({"x": X, "g": 2**53 + EACH // 6, "y": Y}, {"group_column": "g"}),
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no row": ({"x": pa.array([], pa.float64()), "y": pa.array([], pa.string())}, {}, "target_all_missing"),
    "one row": ({"x": X[:1], "y": Y[:1]}, {}, "rows_too_few"),
    "constants": ({"x": np.ones(ROWS), "y": Y}, {}, "features_missing"),
    "no room for each class": (
        {"x": X, "y": [f"c{n % 24}" for n in range(ROWS)]}, {"holdout_share": 0.1}, "holdout_too_small",
    ),
    "groups that cannot be divided": (
        {"x": X, "g": [0] * (ROWS - 2) + [1, 2], "y": X}, {"group_column": "g"}, "split_empty",
    ),
    "moments that cannot be divided": (
        {"x": X, "t": [0] * (ROWS - 2) + [1, 2], "y": X}, {"time_column": "t"}, "split_empty",
    ),
    "classes beyond 2**53 with gaps": (
        {"x": X, "y": pa.array([None if n % 5 == 0 else 2**53 + n % 2 for n in range(ROWS)])}, {}, "integers_inexact",
    ),
    "groups beyond 2**53 with gaps": (
        {"x": X, "g": pa.array([None, *(2**53 + n // 6 for n in range(1, ROWS))]), "y": Y}, {"group_column": "g"},
        "integers_inexact",
    ),
    "quantities beyond squares": ({"x": X, "y": X * 1e200}, {}, "target_out_of_range"),
    "classes that are fractions": ({"x": X, "y": np.where(X > 0, 1e300, 0.5)}, {}, "target_fractions"),
    "far days": (
        {"x": X, "d": [dt.date(1, 1, 1), dt.date(9999, 12, 31)] * (ROWS // 2), "y": Y}, {}, "times_out_of_range",
    ),
    "nothing to explain": ({"x": X, "y": X * 1e-310}, {"metric": "r2"}, "metric_undefined"),
}  # fmt: skip


def run(folder: Path, columns: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    pq.write_table(pa.table(columns), folder / "part.parquet")
    (folder / "out").mkdir()
    dataset = {"name": "d", "number": 1, "version_id": "dsv_1", "sha256": "0"}
    request = {
        "job_id": "job_1",
        "model_name": "m",
        "dataset": dataset,
        "options": {"target": "y", "trials": 1} | options,
        "parts": [str(folder / "part.parquet")],
        "output": str(folder / "out"),
    }
    reporter = SilentReporter(folder)
    reporter.cpu_threads = 1  # of so few rows threads would only wait for each other
    return train(request, reporter)


@pytest.mark.parametrize(("columns", "options"), TRAINED.values(), ids=TRAINED.keys())
def test_odd_tables_are_learned_from(tmp_path: Path, columns: dict[str, Any], options: dict[str, Any]) -> None:
    result = run(tmp_path, columns, options)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["metric"] == result["metric"]
    assert (tmp_path / "out" / "model" / "model.skops").exists()


@pytest.mark.parametrize(("columns", "options", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_learned_from_is_refused_with_its_reason(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        run(tmp_path, columns, options)
    assert refused.value.code == code


def test_a_holdout_without_room_for_the_classes_names_the_share_that_has_it() -> None:
    frame = pd.DataFrame({"x": np.arange(240) * 0.5, "y": [f"c{n % 40}" for n in range(240)]})
    with pytest.raises(Invalid) as refused:
        prepared(frame, target="y", holdout_share=0.1)
    assert "0.17" in refused.value.detail
    assert prepared(frame, target="y", holdout_share=0.17).target.task == "multiclass"


def test_one_long_text_among_many_rows_is_refused_without_a_copy_for_each_row() -> None:
    rows = 20_000
    frame = pd.DataFrame({"x": np.arange(rows) * 0.5, "y": ["x" * 20_000] + [f"c{n % 7}" for n in range(rows - 1)]})
    frame["y"] = frame["y"].astype("str")
    tracemalloc.start()
    with pytest.raises(Invalid) as refused:
        prepared(frame, target="y", task="multiclass")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "class_too_small"
    assert peak < 20 * 2**20  # 20,000 times 20,000 characters would be 1.6 GB


NUMBERS = st.one_of(
    st.floats(allow_infinity=False, width=64),
    st.sampled_from([GREATEST, -GREATEST, 5e-324, 3.5e38, -3.5e38, 0.0, -0.0]),
)
TEXTS = st.sampled_from(["", " ", "nan", "a", "A", "ä", "a\0", "x" * 1000, None])


@st.composite
def frames(draw: Any) -> pd.DataFrame:
    """A few odd values a column, repeated in another order each, beside one column that is sound."""
    random = np.random.default_rng(draw(st.integers(0, 9)))
    columns: dict[str, Any] = {"sound": random.normal(size=ROWS)}
    for name, values in (("number", NUMBERS), ("whole", st.integers(-(2**63), 2**63 - 1)), ("text", TEXTS)):
        found = draw(st.lists(values, min_size=1, max_size=6))
        columns[name] = [found[place] for place in random.integers(0, len(found), ROWS)]
    columns["text"] = pd.Series(columns["text"], dtype="str")
    return pd.DataFrame(columns)


@pytest.mark.parametrize("candidate", FAMILIES)
@pytest.mark.parametrize("task", ["binary", "regression"])
@settings(
    max_examples=4, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(frame=frames())
def test_every_candidate_copes_with_odd_features_and_answers_finite_numbers(
    candidate: str, task: str, frame: pd.DataFrame
) -> None:
    target = Y if task == "binary" else X
    ready = prepared(frame.assign(y=target), target="y")
    point = next(point for point in known_points(ready.setting) if point["candidate"] == candidate)
    params = {name: value for name, value in point.items() if name != "candidate"}
    winner = TrialRecord(0, candidate, params, 1.0, iterations=5, seconds=0.0)
    rows = ready.split.development
    pipeline = refit(ready.frame.iloc[rows], ready.target.labels[rows], ready.features, ready.setting, winner)
    answers = scores_of(pipeline, ready.frame, ready.setting)
    assert np.isfinite(answers.prediction if answers.probabilities is None else answers.probabilities).all()


def test_what_a_library_cannot_take_is_told_with_the_step_and_our_own_failures_stay_ours() -> None:
    with pytest.raises(Invalid) as refused, library_errors("fitting"):
        FAMILIES["random_forest"].build(
            {"max_features": 1.0, "min_samples_leaf": 1},
            prepared(pd.DataFrame({"x": X, "y": Y}), target="y").setting,
            0,
        ).fit(np.array([[1e300], [2.0]]), ["a", "b"])
    assert refused.value.code == "learning_failed"
    assert "while fitting" in refused.value.detail
    with pytest.raises(ValueError, match="ours"), library_errors("fitting"):
        raise ValueError("ours")
