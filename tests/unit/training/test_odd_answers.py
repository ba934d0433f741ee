"""Adopting and comparing models on odd targets with odd answers: figures, or a refusal that says why."""

import datetime as dt
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.training.tables import SilentReporter
from tidemill.adapters.model_answers import plain_values
from tidemill.adapters.model_loading import Outputs
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.training.adoption import _measure
from tidemill.training.gate import _Arena, _differences, _finite
from tidemill.training.holdouts import read_holdout

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries warn of on such data, children do not look at
ROWS = 24
EACH = np.arange(ROWS)
TARGETS: dict[str, Any] = {
    "classes": EACH % 2,
    "classes beyond 2**53": 2**53 + EACH % 2,
    "both ends of integers": np.where(EACH % 2, 2**63 - 1, -(2**63)),
    "such ends with gaps": pa.array([2**63 - 1, None] * (ROWS // 2)),
    "quantities": EACH * 0.5,
    "no number": pa.array([math.nan] * ROWS),
    "infinity": np.where(EACH == 3, np.inf, EACH * 1.0),
    "the greatest numbers": np.where(EACH % 2, 1.7e308, -1.7e308),
    "the least numbers": EACH * 5e-324,
    "zeros of both signs": np.where(EACH % 2, -0.0, 0.0),
    "texts": [("a", "b")[n % 2] for n in EACH],
    "texts with nothing": [("a", "b", "", None)[n % 4] for n in EACH],
    "texts with NUL": [("a", "a\0")[n % 2] for n in EACH],
    "one text": ["a"] * ROWS,
    "a text for each": [f"c{n}" for n in EACH],
    "flags": EACH % 2 == 0,
    "days": [dt.date(2026, 1, 1 + n % 2) for n in range(ROWS)],
    "moments": [dt.datetime(2026, 1, 1 + n % 2, tzinfo=dt.UTC) for n in range(ROWS)],
    "no row": pa.array([], pa.string()),
    "one row": [1.0],
    "nothing": pa.nulls(ROWS),
}
ANSWERS: dict[str, Any] = {
    "zeros": 0.0, "ones": 1, "halves": 0.5, "no number": math.nan, "nothing": None, "text": "a", "flag": True,
    "2**53": 2**53, "the greatest integer": 2**64 - 1, "the greatest number": 1.7e308, "the least number": 5e-324,
    "shares": [0.5, 0.5], "three shares": [0.1, 0.2, 0.7], "shares of no number": [math.nan, math.nan],
    "shares of nothing": [None, None], "shares beyond": [5.0, -4.0], "no share": [], "deep": [[1.0]],
    "texts": ["a", "b"], "record": {"a": 1}, "below": -1.0, "digits": "1", "day": dt.date(2026, 1, 1),
}  # fmt: skip
TASKS = (None, "binary", "multiclass", "regression")
REQUEST = {"metric": None, "confidence": 0.95, "resamples": 20, "seed": 0, "max_rows": 1000}
SIGNATURE = {"inputs": [{"name": "x", "type": "double", "required": True}]}


class _Odd:
    """Answers ``first`` to the first row and ``rest`` to the others."""

    def __init__(self, first: Any, rest: Any, classes: tuple[Any, ...] | None = None) -> None:
        self._first, self._rest, self.classes = first, rest, classes

    def predict(self, frame: pd.DataFrame, params: Any = None) -> Outputs:
        del params
        answers = plain_values([self._first, *[self._rest] * (len(frame) - 1)][: len(frame)])
        even = None if self.classes is None else np.full((len(frame), len(self.classes)), 1 / len(self.classes))
        return Outputs(answers, even, self.classes)


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """All that a child finds out about an adopted model, in the form in which it is sent and stored."""

    def run(target: Any, model: _Odd, task: str | None) -> dict[str, Any]:
        part = tmp_path / "part.parquet"
        pq.write_table(pa.table({"x": EACH[: len(target)] * 1.0, "y": target}), part)
        found = _measure(model, SIGNATURE, {"parts": [str(part)], "target": "y", "task": task}, tmp_path)
        holdout = read_holdout(tmp_path / "holdout.parquet", found["task"], found["classes"])
        assert holdout.baseline is not None
        against = _Arena(holdout, [], REQUEST, SilentReporter(tmp_path)).against_baseline()
        compared = _differences(holdout, holdout.scores, holdout.baseline, REQUEST)
        return json.loads(json.dumps([found, against, compared, _finite(holdout)], allow_nan=False))[0]  # type: ignore[no-any-return]

    return run


def test_no_odd_answer_about_no_odd_target_is_a_failure_of_the_job_itself(
    measure: Callable[..., dict[str, Any]],
) -> None:
    outcomes = set()
    pairs = itertools.product(TARGETS.values(), zip(ANSWERS.values(), [*list(ANSWERS.values())[1:], 0.0], strict=True))
    for number, (target, (answer, other)) in enumerate(itertools.islice(pairs, 0, None, 3)):
        model = _Odd(other if number % 3 == 0 else answer, answer, ("a", "b") if number % 7 == 0 else None)
        try:
            measure(target, model, TASKS[number % 4])
            outcomes.add("measured")
        except TidemillError as error:
            outcomes.add(error.code)
    assert outcomes >= {"measured", "classes_unfit", "label_unknown", "model_output_shape", "target_not_finite"}


def test_a_model_that_answers_with_days_is_measured_on_days(measure: Callable[..., dict[str, Any]]) -> None:
    day = dt.date(2026, 1, 1)
    found = measure(TARGETS["days"], _Odd(day, day), None)
    assert found["classes"] == ["2026-01-01", "2026-01-02"]
    assert found["metrics"]["accuracy"]["value"] == 0.5


def test_classes_beyond_floats_are_told_apart(measure: Callable[..., dict[str, Any]]) -> None:
    found = measure(TARGETS["classes beyond 2**53"], _Odd(2**53 + 1, 2**53 + 1), None)
    assert found["classes"] == [2**53, 2**53 + 1]
    assert found["metrics"]["accuracy"]["value"] == 0.5


def test_several_numbers_for_a_quantity_are_refused(measure: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(Invalid) as refused:
        measure(TARGETS["quantities"], _Odd([0.5, 0.5], [0.5, 0.5]), "regression")
    assert refused.value.code == "model_output_shape"
