"""Whatever answers and truths the ledger holds, a report is made of them and is JSON."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.training.tables import SilentReporter
from tidemill.evaluation.comparison import Estimate, judge
from tidemill.evaluation.distribution import histogram
from tidemill.evaluation.scaling import Scaling
from tidemill.kit.labels import is_finite_number
from tidemill.training.live_metrics import measure

HOLDOUT = {name: {"value": 0.8, "low": 0.7, "high": 0.9} for name in ("roc_auc", "rmse", "accuracy", "mae", "r2")}
MODELS = {
    "binary": {"task": "binary", "classes": [0, 1], "metric": "roc_auc"},
    "texts": {"task": "multiclass", "classes": ["nan", "", " "], "metric": "log_loss"},
    "regression": {"task": "regression", "metric": "rmse"},
    "unknown": {},
}
NUMBERS = st.one_of(
    st.sampled_from([1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 1e154, 2**53 + 1, 10**30, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 3),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.sampled_from(["", " ", "nan", "inf", "1e999", "0", "x" * 999])
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from(["0", "1", ""]), SCALARS))
OUTPUTS = st.one_of(VALUES, st.fixed_dictionaries({"prediction": VALUES}, optional={"probabilities": VALUES}))
ROWS = st.lists(st.tuples(OUTPUTS, VALUES, st.booleans()), min_size=1, max_size=8)


def report(folder: Path, model: dict[str, Any], rows: list[tuple[Any, Any, bool]]) -> dict[str, Any]:
    file = folder / "rows.ndjson"
    lines = [
        {"model": "m:1", "at": 1.7e9 + n * 1e4, "output": output} | ({"truth": truth, "delay": 5.0} if told else {})
        for n, (output, truth, told) in enumerate(rows)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = {"name": "m", "number": 1, "holdout": HOLDOUT} | model
    return measure({"rows": str(file), "models": {"m:1": known}}, SilentReporter())


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, times=st.sampled_from([1, 8]))
def test_odd_answers_and_truths_make_a_report(tmp_path: Path, kind: str, rows: Any, times: int) -> None:
    found = report(tmp_path, MODELS[kind], rows * times)
    json.dumps(found, allow_nan=False)
    assert found["total"]["predictions"] == len(rows) * times
    assert found["total"]["labelled"] + found["total"]["invalid_truths"] == sum(told for *_, told in rows) * times


def test_great_errors_have_figures_between_their_extremes(tmp_path: Path) -> None:
    rows = [(value, -value, True) for value in (1.7e308, -1.7e308, 1e300) for _ in range(20)]
    total = report(tmp_path, MODELS["regression"], rows)["total"]
    found = total["distribution"]["quantiles"]
    assert found["minimum"] <= found["p05"] <= found["p50"] <= found["p95"] <= found["maximum"]
    assert found["minimum"] <= found["mean"] <= found["maximum"]
    assert sum(total["distribution"]["histogram"]["counts"]) == 60
    assert [metric["name"] for metric in total["metrics"]] == []


@pytest.mark.parametrize("value", [0.0, 7.0, 1e300, -1.7e308, 5e-324])
def test_equal_numbers_fall_into_one_bin(value: float) -> None:
    edges, counts = histogram(np.array([value] * 5), 20)
    assert (len(edges), len(counts), max(counts)) == (21, 20, 5)


def test_labels_needed_are_told_of_errors_whose_squares_are_beyond_any_float() -> None:
    found = judge("rmse", Estimate(1e300, 0.5e300, 1.5e300), Estimate(1e300, 0.99e300, 1.01e300), 10)
    assert found.labels_needed is not None
    assert 10 < found.labels_needed < 1000


@pytest.mark.parametrize(
    ("value", "finite"),
    [(10**308, True), (10**400, False), (float("inf"), False), (float("nan"), False), (True, False), ("1", False)],
)
def test_a_number_is_finite_if_a_float_can_hold_it(value: Any, finite: bool) -> None:
    assert is_finite_number(value) is finite


@settings(max_examples=60, derandomize=True, deadline=None)
@given(seen=st.integers(1, 2000), found_share=st.floats(0, 1), unseen=st.integers(0, 100_000))
def test_scaled_counts_lie_within_their_interval_and_what_is_possible(
    seen: int, found_share: float, unseen: int
) -> None:
    scaling, found = Scaling(seen, seen + unseen), round(found_share * seen)
    count = scaling.scale(found)
    assert found <= count.low <= count.value <= count.high <= found + unseen


def test_intervals_of_scaled_counts_hold_the_truth_in_95_of_100_samples() -> None:
    random, population, seen = np.random.default_rng(0), 10_000, 500
    for true in (0, 3, 500, 5_000, 9_999):
        drawn = random.hypergeometric(true, population - true, seen, 1_000)
        counts = [Scaling(seen, population).scale(int(found)) for found in drawn]
        assert sum(count.low <= true <= count.high for count in counts) >= 950


def test_days_of_the_ledger_that_no_sampled_row_is_of_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_text(json.dumps({"model": "m:1", "at": 0.0, "output": 1.0}) + "\n")
    models = {key: {"name": "m", "number": number} for number, key in ((1, "m:1"), (2, "m:2"))}
    days = {date(1970, 1, 1): {"predictions": 10, "truths": 0}, date(1970, 1, 2): {"predictions": 5, "truths": 0}}
    request = {
        "rows": str(file),
        "models": models,
        "totals": {"m:1": days, "m:2": {date(1970, 1, 1): {"predictions": 2}}},
    }
    found = measure(request, SilentReporter())
    assert [version["predictions"] for version in found["versions"]] == [15, 2]
    assert [day["predictions"] for day in found["total"]["days"]] == [12, 5]
