"""Reports on more predictions than they read: labelled rows go first, counts are exact or say that they are not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from tests.integration.ledger_rows import Predicted, add_predictions, add_version
from tests.integration.monitoring.conftest import MakeReport, deployed, tell
from tidemill.cli.monitor_tables import report_parts
from tidemill.db.engine import SessionFactory, transaction
from tidemill.schemas.monitoring import Report
from tidemill.settings.model import Settings

ROWS = 4_000
NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
"""Moments and ids are the same in every run, and with them the samples: one of 20 intervals of 95% misses."""
SPAN = {"since": "2026-01-14T00:00:00Z", "until": "2026-01-21T00:00:00Z"}
HOLDOUT = {"accuracy": {"value": 0.5, "low": 0.45, "high": 0.55}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A report reads every row up to 1,000."""
    worker = settings.worker.model_copy(update={"report_rows": 1000})
    return settings.model_copy(update={"worker": worker})


def binary(score: float) -> dict[str, Any]:
    return {"prediction": ">50K" if score > 0.5 else "<=50K", "probabilities": {"<=50K": 1 - score, ">50K": score}}


@pytest.fixture
async def many(sessions: SessionFactory) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Ids and scores of predictions over three days, a tenth of them by the second version of the model."""
    await deployed(sessions, "adult-income", metric="accuracy", metrics=HOLDOUT)
    async with transaction(sessions) as session:
        await add_version(session, model_name="adult-income")
    scores = np.random.default_rng(1).random(ROWS)
    rows = [
        Predicted(
            binary(score),
            NOW - timedelta(days=index % 3, minutes=5),
            model_version=2 if index % 10 == 0 else 1,
            tail=f"{index:020x}",
        )
        for index, score in enumerate(scores.tolist())
    ]
    return await add_predictions(sessions, rows), scores


def holds(found: dict[str, Any], name: str, true: int) -> bool:
    """Twice as far as the interval goes: the ids, by which rows are drawn, differ each time, and one interval in twenty
    may miss. How often they do is tested where they are made, with a seed."""
    interval, value = found[f"{name}_interval"], found[name]
    low, high = value - 2 * (value - interval["low"]), value + 2 * (interval["high"] - value)
    return bool(interval["low"] <= value <= interval["high"] and low <= true <= high)


async def test_no_labelled_row_is_sampled_away_and_the_verdict_is_that_of_all_labels(
    make_report: MakeReport, many: tuple[list[str], np.ndarray[Any, Any]], sessions: SessionFactory
) -> None:
    made, scores = many
    labelled = [index for index in range(0, ROWS, 20) if index % 10 or index < 60]
    labelled += [index + 1 for index in range(0, ROWS, 20)]
    truths = {index: (">50K", "<=50K")[index % 2] for index in labelled}
    await tell(sessions, {made[index]: truth for index, truth in truths.items()})
    await tell(sessions, {made[labelled[0]]: (">50K", "<=50K")[(labelled[0] + 1) % 2]})
    truths[labelled[0]] = (">50K", "<=50K")[(labelled[0] + 1) % 2]
    content = (await make_report("adult-income", **SPAN))["content"]
    counts = content["counts"]
    assert (counts["predictions"], counts["labelled"], counts["revisions"]) == (ROWS, len(truths), 1)
    assert counts["labelled_interval"] is None
    assert counts["rows_read"] < ROWS / 4
    first = content["versions"][0]
    own = [index for index in truths if index % 10]
    measured = accuracy_score([truths[i] for i in own], [binary(scores[i])["prediction"] for i in own])
    accuracy = next(metric for metric in first["metrics"] if metric["name"] == "accuracy")
    assert accuracy["live"]["value"] == pytest.approx(measured)
    assert first["verdict"] != "no_holdout"
    assert any("Every one of the" in note for note in content["notes"])


async def test_what_is_counted_exactly_is_and_what_is_scaled_has_an_interval_that_holds_the_truth(
    make_report: MakeReport, many: tuple[list[str], np.ndarray[Any, Any]], sessions: SessionFactory
) -> None:
    made, scores = many
    await tell(sessions, {made[index]: ">50K" for index in range(0, 600, 2)})
    content = (await make_report("adult-income", **SPAN))["content"]
    total, (first, second) = content["total"], content["versions"]
    assert (total["predictions"], first["predictions"], second["predictions"]) == (ROWS, ROWS * 9 // 10, ROWS // 10)
    assert sum(day["predictions"] for day in total["days"]) == ROWS
    assert sum(day["labelled"] for day in total["days"]) == total["labelled"] == 300
    assert total["coverage_percent"] == 7.5
    for classes, chosen in ((total, slice(None)), (second, slice(0, None, 10))):
        for found in classes["distribution"]["classes"]:
            predicted = (scores[chosen] > 0.5) == (found["label"] == ">50K")
            assert holds(found, "predicted", int(predicted.sum()))
            assert found["observed_interval"] is None
    bins, _ = np.histogram(scores, 20, (0, 1))
    shown = total["distribution"]["histogram"]
    inside = [one["low"] <= true <= one["high"] for one, true in zip(shown["count_intervals"], bins, strict=True)]
    assert sum(inside) >= 14
    assert total["distribution"]["quantiles"]["count"] == ROWS
    assert total["sampled_predictions"] < total["predictions"]


async def test_more_labelled_rows_than_a_report_reads_are_sampled_uniformly_and_it_is_told(
    make_report: MakeReport, many: tuple[list[str], np.ndarray[Any, Any]], sessions: SessionFactory
) -> None:
    made, scores = many
    truths = {id_: (">50K" if score > 0.3 else "<=50K") for id_, score in zip(made, scores, strict=True)}
    await tell(sessions, truths)
    report = await make_report("adult-income", **SPAN)
    content = report["content"]
    counts, first = content["counts"], content["versions"][0]
    assert counts["predictions"] == ROWS
    assert counts["labelled_interval"]["low"] <= ROWS == counts["labelled"]
    assert counts["rows_read"] < 800
    assert content["total"]["sampled_labels"] < 800
    assert any("random sample" in note and "with a truth" in note for note in content["notes"])
    for found in first["distribution"]["classes"]:
        observed = sum((score > 0.3) == (found["label"] == ">50K") for i, score in enumerate(scores) if i % 10)
        assert holds(found, "observed", observed)
    assert "about" in shown(report)


def shown(report: dict[str, Any]) -> str:
    parts = list(report_parts(Report.model_validate(report)))
    return " ".join(str(list(column.cells)) for part in parts if hasattr(part, "columns") for column in part.columns)
