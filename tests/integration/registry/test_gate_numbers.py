"""What the gate's child computes, on real models and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from tests.integration.registry.trained import Trained, train, useless, write_parts
from tidemill.features.registry.policy import decide
from tidemill.schemas.registry import Check, Comparison, GatePolicy
from tidemill.training.gate import compare, weigh


class FakeReporter:
    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.cpu_threads = 1
        self.memory_limit_bytes = 2**30

    def progress(self, *_args: Any, **_kwargs: Any) -> None: ...
    def log(self, level: str, message: str) -> None: ...
    def event(self, **fields: Any) -> None: ...
    def check(self) -> None: ...


class Ring:
    """Brings two trained models before the gate."""

    def __init__(self, folder: Path, frame: pd.DataFrame) -> None:
        self.folder = folder
        self.parts = [str(path) for path in write_parts(frame, folder / "parts")]
        self.reporter = FakeReporter(folder / "scratch")
        self.numbers = iter(range(1, 100))

    def contestant(self, trained: Trained, **changes: Any) -> dict[str, Any]:
        number = next(self.numbers)
        bundle, holdout = trained.save(self.folder, f"model-{number}")
        return {
            "number": number, "bundle": str(bundle.path), "bundle_sha256": bundle.sha256, "flavor": "tidemill",
            "runs_code": False, "task": "binary", "target": "good", "classes": ["no", "yes"],
            "signature": trained.signature,
            "dataset_version_id": "dsv_1", "holdout": str(holdout),
        } | changes  # fmt: skip

    def weigh(
        self, challenger: dict[str, Any], champion: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        request = {
            "challenger": challenger, "champion": champion, "parts": self.parts, "metric": "roc_auc",
            "confidence": 0.95, "resamples": 1000, "seed": 0, "max_rows": 100_000,
        }  # fmt: skip
        return weigh(request | changes, self.reporter)

    def verdict(self, found: dict[str, Any], **policy: Any) -> tuple[bool, list[str]]:
        checks = [Check.model_validate(item) for item in found["checks"]]
        comparisons = [Comparison.model_validate(item) for item in found["comparisons"]]
        verdict = decide(GatePolicy(**policy), checks, comparisons)
        return verdict.passed, verdict.reasons


@pytest.fixture
def ring(tmp_path: Path, frame: pd.DataFrame) -> Ring:
    return Ring(tmp_path, frame)


def test_a_good_first_version_beats_the_baseline_and_its_bundle_reproduces_its_holdout(
    ring: Ring, frame: pd.DataFrame
) -> None:
    found = ring.weigh(ring.contestant(train(frame, "age", "town")))
    assert [(check["code"], check["passed"]) for check in found["checks"]] == [
        ("finite_predictions", True),
        ("bundle", True),
    ]
    baseline = found["comparisons"][0]
    assert baseline["row_count"] == 200
    assert baseline["other_value"] == 0.5
    assert 0.2 < baseline["low"] < baseline["difference"] < baseline["high"]
    assert ring.verdict(found)[0]


def test_a_useless_version_does_not_beat_the_baseline(ring: Ring, frame: pd.DataFrame) -> None:
    passed, reasons = ring.verdict(ring.weigh(ring.contestant(useless(frame))))
    assert not passed
    assert reasons[0].startswith("Not shown to be better than the naive baseline")


def test_a_better_challenger_beats_the_champion_and_not_the_other_way_round(ring: Ring, frame: pd.DataFrame) -> None:
    weak, strong = ring.contestant(train(frame, "town")), ring.contestant(train(frame, "age", "town"))
    found = ring.weigh(strong, weak)
    assert found["comparisons"][1]["low"] > 0
    assert found["comparisons"][1]["rows_seen_by_other"] == 0
    assert ring.verdict(found)[0]
    passed, reasons = ring.verdict(ring.weigh(weak, strong))
    assert not passed
    assert "Not shown to be better than champion 2" in reasons[0]


def test_a_champion_is_compared_on_rows_that_it_was_not_trained_on(ring: Ring, frame: pd.DataFrame) -> None:
    champion, challenger = ring.contestant(train(frame, "town")), ring.contestant(train(frame, "age", "town"))
    table = pq.read_table(challenger["holdout"])
    other_rows = pa.array(np.r_[np.arange(100), np.arange(400, 600)])
    pq.write_table(pa.table({"row": other_rows}), champion["holdout"])
    pq.write_table(pa.concat_tables([table, table.slice(0, 50)]).set_column(
        0, "row", pa.array(np.r_[np.arange(400, 600), np.arange(300, 350)])), challenger["holdout"])  # fmt: skip
    earlier = [str(part) for part in write_parts(frame.iloc[:400].assign(added=1), ring.folder / "earlier")]
    elsewhere = champion | {"dataset_version_id": "dsv_0"}
    for contest in ((challenger, champion, {}), (challenger, elsewhere, {"champion_parts": earlier})):
        found = ring.weigh(*contest[:2], **contest[2])["comparisons"][1]
        assert (found["row_count"], found["rows_left_out"], found["rows_seen_by_other"]) == (200, 50, 0)
    passed, reasons = ring.verdict(ring.weigh(challenger, champion) | {"checks": []})
    assert passed
    assert any("on the 200 holdout rows that it was not trained on" in reason for reason in reasons)
    pq.write_table(pa.table({"row": other_rows.slice(0, 200)}), champion["holdout"])
    few = ring.weigh(challenger, champion)
    assert (few["comparisons"][1]["row_count"], few["comparisons"][1]["rows_seen_by_other"]) == (250, 150)
    assert any("it was trained on 150 of the 250 rows" in reason for reason in ring.verdict(few)[1])


def test_an_equal_challenger_needs_a_margin(ring: Ring, frame: pd.DataFrame) -> None:
    champion = ring.contestant(train(frame, "age", "town"))
    equal = ring.contestant(train(frame, "age", "town", model=LogisticRegression(C=0.9)))
    found = ring.weigh(equal, champion)
    assert not ring.verdict(found)[0]
    assert ring.verdict(found, champion_margin=0.02)[0]


def test_the_same_contest_gives_the_same_numbers(ring: Ring, frame: pd.DataFrame) -> None:
    one, two = ring.contestant(train(frame, "age")), ring.contestant(train(frame, "town"))
    assert ring.weigh(one, two) == ring.weigh(one, two)


SALARY = {"inputs": [{"name": "salary", "type": "double"}]}
NUMERIC_TOWN = {"inputs": [{"name": "town", "type": "double"}]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "regression"}, "it was made for another task"),
        ({"target": "bad"}, "it predicts another target"),
        ({"classes": ["no", "perhaps"]}, "it knows other classes"),
        ({"signature": SALARY}, "The dataset lacks columns that the model needs (column salary)"),
        ({"signature": NUMERIC_TOWN}, "Columns have another type than in the model's signature (column town)"),
        ({"bundle_sha256": "f" * 64}, "The bundle's bytes do not have the expected SHA-256"),
    ],
)
def test_a_champion_that_cannot_be_scored_says_why_and_stays(
    ring: Ring, frame: pd.DataFrame, changes: dict[str, Any], reason: str
) -> None:
    champion = ring.contestant(train(frame, "town"), **changes)
    found = ring.weigh(ring.contestant(train(frame, "age", "town")), champion)
    assert found["comparisons"][1] == {"against": "champion", "number": 1, "scored": False, "reason": reason}
    assert not ring.verdict(found)[0]
    assert ring.verdict(found, unscorable_champion="promote")[0]


def test_a_bundle_that_does_not_reproduce_its_holdout_fails_the_check(ring: Ring, frame: pd.DataFrame) -> None:
    strong, other = ring.contestant(train(frame, "age", "town")), ring.contestant(train(frame, "age"))
    swapped = strong | {key: other[key] for key in ("bundle", "bundle_sha256", "signature")}
    passed, reasons = ring.verdict(ring.weigh(swapped))
    assert not passed
    assert reasons[0] == "Check bundle failed: The bundle does not reproduce 200 stored holdout predictions"


def test_without_a_holdout_there_is_no_evidence(ring: Ring, frame: pd.DataFrame) -> None:
    found = ring.weigh(ring.contestant(train(frame, "age"), holdout=None), ring.contestant(train(frame, "town")))
    passed, reasons = ring.verdict(found, unscorable_champion="promote")
    assert not passed
    assert any(reason.startswith("No evidence") for reason in reasons)


def test_a_comparison_shows_every_metric_of_the_task(ring: Ring, frame: pd.DataFrame) -> None:
    strong, weak = ring.contestant(train(frame, "age", "town")), ring.contestant(train(frame, "town"))
    shared = {"parts": ring.parts, "confidence": 0.9, "resamples": 1000, "seed": 0}
    found = compare({"first": strong, "second": weak, "holdout_of": "first", **shared}, ring.reporter)
    assert found["scored"]
    assert [item["metric"] for item in found["differences"]] == [
        "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1",
    ]  # fmt: skip
    assert all(item["low"] > 0 for item in found["differences"] if item["metric"] in ("roc_auc", "log_loss"))
    swapped = compare({"first": weak, "second": strong, "holdout_of": "second", **shared}, ring.reporter)
    assert [item["difference"] for item in swapped["differences"]] == [
        -item["difference"] for item in found["differences"]
    ]
