"""Monitoring reports from the request to the stored figures."""

from datetime import timedelta

import httpx
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from sqlalchemy import text

from tests.integration.conftest import MakeKey, RunJobs
from tests.integration.ledger_rows import Predicted, add_predictions, add_version, id_at
from tests.integration.monitoring.conftest import Income, MakeReport, deployed, tell
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.monitoring.service import ReportOrder
from tidemill.features.monitoring.tasks import REPORT
from tidemill.jobs import service as jobs
from tidemill.kit.clock import utc_now


async def test_live_metrics_stand_beside_the_holdout_with_intervals_and_a_verdict(
    make_report: MakeReport, income: Income
) -> None:
    version = (await make_report("adult-income"))["content"]["versions"][0]
    truth, scores = income.truths[income.labelled] == ">50K", income.scores[income.labelled]
    metrics = {metric["name"]: metric for metric in version["metrics"]}
    assert metrics["roc_auc"]["live"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert metrics["accuracy"]["live"]["value"] == pytest.approx(accuracy_score(truth, scores > 0.5))
    for metric in metrics.values():
        assert metric["live"]["low"] < metric["live"]["value"] < metric["live"]["high"]
    assert metrics["roc_auc"]["verdict"] == version["verdict"] == "within"
    assert metrics["accuracy"]["verdict"] == "below"
    assert metrics["accuracy"]["difference"]["high"] < 0
    assert metrics["log_loss"]["verdict"] == "no_holdout"


async def test_counts_coverage_revisions_and_unmatched_feedback_are_told(
    make_report: MakeReport, income: Income, sessions: SessionFactory
) -> None:
    revised = {income.ids[0]: "<=50K" if income.truths[0] == ">50K" else ">50K"}
    await tell(
        sessions, revised | {id_at(utc_now() - timedelta(hours=1)): "x", id_at(utc_now() - timedelta(days=30)): 1}
    )
    content = (await make_report("adult-income"))["content"]
    assert content["counts"] == {
        "predictions": 900,
        "rows_read": 900,
        "labelled": 450,
        "labelled_interval": None,
        "coverage_percent": 50.0,
        "unmatched_feedback": 1,
        "revisions": 1,
    }
    days = content["total"]["days"]
    assert sum(day["predictions"] for day in days) == 900
    assert sum(day["labelled"] for day in days) == 450
    assert all(day["metric"]["low"] <= day["metric"]["value"] <= day["metric"]["high"] for day in days)
    assert content["total"]["label_delay_seconds"]["maximum"] > 2 * 86_400
    classes = {found["label"]: found["predicted"] for found in content["total"]["distribution"]["classes"]}
    assert classes == {">50K": int((income.scores > 0.5).sum()), "<=50K": int((income.scores <= 0.5).sum())}


async def test_labels_that_came_for_some_kinds_of_rows_only_are_called_unrepresentative(
    make_report: MakeReport, sessions: SessionFactory
) -> None:
    await deployed(sessions, "adult-income")
    scores = np.linspace(0.01, 0.99, 400).tolist()
    outputs = [{"prediction": ">50K", "probabilities": {"<=50K": 1 - p, ">50K": p}} for p in scores]
    made = await add_predictions(sessions, [Predicted(output) for output in outputs])
    await tell(sessions, {id_: (">50K", "<=50K")[index % 2] for index, id_ in enumerate(made[:200])})
    found = (await make_report("adult-income"))["content"]["total"]["representativeness"]
    assert found["representative"] is False
    assert found["statistic"] == pytest.approx(1.0)
    assert "labelled rows only" in found["detail"]


async def test_versions_are_measured_apart_and_one_can_be_picked(
    make_report: MakeReport, income: Income, sessions: SessionFactory
) -> None:
    async with transaction(sessions) as session:
        await add_version(session, model_name="adult-income")
    output = {"prediction": ">50K", "probabilities": {"<=50K": 0.4, ">50K": 0.6}}
    made = await add_predictions(sessions, [Predicted(output, model_version=2)] * 3)
    await tell(sessions, dict.fromkeys(made, ">50K"))
    content = (await make_report("adult-income"))["content"]
    assert [(v["model_version"], v["predictions"]) for v in content["versions"]] == [(1, 900), (2, 3)]
    assert content["total"]["predictions"] == 903
    assert content["total"]["verdict"] == "no_holdout"
    second = content["versions"][1]
    assert any("one class" in note for note in second["notes"])
    only = (await make_report("adult-income", model_version=2))["content"]
    assert (only["counts"]["predictions"], len(only["versions"])) == (3, 1)


async def test_regression_is_measured_by_its_own_metrics(make_report: MakeReport, sessions: SessionFactory) -> None:
    holdout = {"rmse": {"value": 1.0, "low": 0.95, "high": 1.05}}
    await deployed(sessions, "bikes", task="regression", classes=None, metric="rmse", metrics=holdout)
    predictions = np.arange(300, dtype=float)
    rows = [Predicted({"prediction": value}, deployment="bikes", model_name="bikes") for value in predictions.tolist()]
    made = await add_predictions(sessions, rows)
    await tell(
        sessions,
        {id_: value + (2, -2)[index % 2] for index, (id_, value) in enumerate(zip(made, predictions, strict=True))},
    )
    version = (await make_report("bikes"))["content"]["versions"][0]
    rmse = next(metric for metric in version["metrics"] if metric["name"] == "rmse")
    assert rmse["live"]["value"] == pytest.approx(2.0)
    assert rmse["verdict"] == version["verdict"] == "below"
    assert version["coverage_percent"] == 100.0
    assert version["distribution"]["quantiles"]["p50"] == pytest.approx(149.5)


async def test_several_classes_and_texts_told_before_the_model_was_known(
    make_report: MakeReport, sessions: SessionFactory
) -> None:
    await deployed(sessions, "digits", task="multiclass", classes=[0, 1, 2], metric="accuracy")
    outputs = [{"prediction": n % 3, "probabilities": {"0": 0.2, "1": 0.3, "2": 0.5}} for n in range(90)]
    made = await add_predictions(sessions, [Predicted(o, deployment="digits", model_name="digits") for o in outputs])
    await tell(sessions, {id_: index % 3 for index, id_ in enumerate(made[:60])})
    async with transaction(sessions) as session:
        statement = text("""INSERT INTO feedback (prediction_id, truth, observed_at, principal)
                            VALUES (:text_id, '"2"', now(), 'k'), (:bad_id, '"seven"', now(), 'k')""")
        await session.execute(statement, {"text_id": made[62], "bad_id": made[63]})
    version = (await make_report("digits"))["content"]["versions"][0]
    accuracy = next(metric for metric in version["metrics"] if metric["name"] == "accuracy")
    assert (version["labelled"], version["invalid_truths"]) == (61, 1)
    assert accuracy["live"]["value"] == 1.0


async def test_a_deployment_without_labels_or_predictions_says_so(
    make_report: MakeReport, sessions: SessionFactory
) -> None:
    await deployed(sessions, "adult-income", metrics={"roc_auc": {"value": 0.9, "low": 0.89, "high": 0.91}})
    empty = (await make_report("adult-income"))["content"]
    assert (empty["counts"]["predictions"], empty["versions"]) == (0, [])
    assert "no predictions" in empty["total"]["notes"][0]
    await add_predictions(sessions, [Predicted({"prediction": ">50K"})] * 2)
    unlabelled = (await make_report("adult-income"))["content"]
    assert unlabelled["total"]["verdict"] == "not_enough_labels"
    assert unlabelled["total"]["metrics"] == []


async def test_a_model_of_unknown_task_has_counts_but_no_metric(
    make_report: MakeReport, sessions: SessionFactory
) -> None:
    await deployed(sessions, "foreign", task=None, classes=None, metric=None, flavor="pyfunc")
    rows = [Predicted({"prediction": {"a": 1}}, deployment="foreign", model_name="foreign")] * 3
    made = await add_predictions(sessions, rows)
    await tell(sessions, {made[0]: "anything"})
    total = (await make_report("foreign"))["content"]["total"]
    assert (total["predictions"], total["metrics"]) == (3, [])
    assert any("task" in note for note in total["notes"])


async def test_reports_are_listed_newest_first_by_pages(
    make_report: MakeReport, income: Income, api: httpx.AsyncClient, sessions: SessionFactory
) -> None:
    made = await make_report("adult-income")
    other = await make_report("adult-income", since=(utc_now() - timedelta(days=2)).isoformat())
    page = (await api.get("/api/v1/monitoring/reports", params={"deployment": "adult-income", "page_size": 1})).json()
    assert [item["id"] for item in page["items"]] == [other["id"]]
    params = {"page_size": 1, "page_token": page["next_page_token"]}
    assert (await api.get("/api/v1/monitoring/reports", params=params)).json()["items"][0]["id"] == made["id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"deployment": "absent"}, 404, "deployment_not_found"),
        (
            {"deployment": "adult-income", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            422,
            "span_empty",
        ),
        ({"deployment": "adult-income", "since": "2020-01-01T00:00:00Z"}, 422, "span_too_long"),
        ({"deployment": "adult-income", "since": "yesterday"}, 422, "request_invalid"),
        ({"deployment": "adult-income", "model_version": 0}, 422, "request_invalid"),
    ],
)
async def test_unusable_requests_are_refused(
    api: httpx.AsyncClient, sessions: SessionFactory, body: dict[str, object], status: int, code: str
) -> None:
    await deployed(sessions, "adult-income")
    answer = await api.post("/api/v1/monitoring/reports", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_unknown_report_is_not_found_and_reading_wants_its_scope(
    api: httpx.AsyncClient, make_key: MakeKey, run_jobs: RunJobs
) -> None:
    assert (await api.get("/api/v1/monitoring/reports/rep_0")).status_code == 404
    headers = {"Authorization": f"Bearer {await make_key(Scope.MONITORING_READ)}"}
    assert (await api.get("/api/v1/monitoring/reports", headers=headers)).status_code == 200
    asked = await api.post("/api/v1/monitoring/reports", json={"deployment": "x"}, headers=headers)
    assert asked.status_code == 403


async def test_a_job_that_is_run_again_for_the_same_report_changes_nothing(
    make_report: MakeReport, income: Income, run_jobs: RunJobs, sessions: SessionFactory
) -> None:
    made = await make_report("adult-income")
    order = ReportOrder(
        report_id=made["id"], deployment="adult-income", since=utc_now() - timedelta(days=1), until=utc_now()
    )
    async with transaction(sessions) as session:
        again = await jobs.enqueue(session, REPORT, order, jobs.JobRequest(principal="key_0"))
    await run_jobs()
    async with sessions() as session:
        assert (await jobs.get(session, again.id)).result == {"report_id": made["id"]}
        stored = list(
            await session.execute(text("SELECT job_id, content->'counts'->'predictions' FROM monitoring_reports"))
        )
    assert [tuple(row) for row in stored] == [(made["job_id"], 900)]
