"""Deployments with predictions and feedback, and reports on them by the real job in a real child."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.ledger_rows import Predicted, add_predictions, add_version
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.feedback import service as feedback
from tidemill.features.feedback.rows import ToldTruth
from tidemill.kit import ids
from tidemill.kit.clock import utc_now

MakeReport = Callable[..., Awaitable[dict[str, Any]]]
SIGNATURE = {"inputs": [{"name": "age", "type": "long", "required": True}], "outputs": [], "params": []}


@pytest.fixture
def make_report(api: httpx.AsyncClient, run_jobs: RunJobs) -> MakeReport:
    """``await make_report("adult-income", since=...)`` asks for a report, runs its job and gives the report."""

    async def make(deployment: str, **wanted: Any) -> dict[str, Any]:
        asked = await api.post("/api/v1/monitoring/reports", json={"deployment": deployment, **wanted})
        assert asked.status_code == 202, asked.text
        await run_jobs()
        job = (await api.get(asked.headers["location"])).json()
        assert job["status"] == "succeeded", job["error"]
        report = await api.get(f"/api/v1/monitoring/reports/{job['result']['report_id']}")
        assert report.status_code == 200, report.text
        return dict(report.json())

    return make


async def deployed(sessions: SessionFactory, name: str, **version: Any) -> None:
    """A deployment in the history, and version 1 of its model."""
    async with transaction(sessions) as session:
        await add_version(session, model_name=name, signature=SIGNATURE, **version)
        event = text("""
            INSERT INTO deployment_history (id, deployment, kind, reference, who, at)
            VALUES (:id, :name, 'created', :name, 'key_0', now())
        """)
        await session.execute(event, {"id": ids.new_id("de"), "name": name})


async def tell(sessions: SessionFactory, truths: dict[str, Any]) -> None:
    rows = [ToldTruth(f"row {number}", id_, truth) for number, (id_, truth) in enumerate(truths.items())]
    async with transaction(sessions) as session:
        await feedback.record(session, rows, feedback.Sender("key_0", None))


@dataclass(frozen=True)
class Income:
    """Binary predictions over three days, every second of them labelled."""

    ids: list[str]
    scores: np.ndarray[Any, Any]
    truths: np.ndarray[Any, Any]
    labelled: np.ndarray[Any, Any]


@pytest.fixture
async def income(sessions: SessionFactory) -> Income:
    random = np.random.default_rng(0)
    scores, rows = random.random(900), 900
    truths = np.where(random.random(rows) < scores, ">50K", "<=50K")
    labelled = np.arange(rows) % 2 == 0
    metrics = {
        "roc_auc": {"value": 0.83, "low": 0.81, "high": 0.85},
        "accuracy": {"value": 0.99, "low": 0.98, "high": 1},
    }
    await deployed(sessions, "adult-income", metrics=metrics)
    now = utc_now()
    made = await add_predictions(
        sessions,
        [
            Predicted(
                {
                    "prediction": ">50K" if score > 0.5 else "<=50K",
                    "probabilities": {"<=50K": 1 - score, ">50K": score},
                },
                moment=now - timedelta(days=index % 3, minutes=5),
            )
            for index, score in enumerate(scores.tolist())
        ],
    )
    await tell(sessions, {made[index]: str(truths[index]) for index in np.flatnonzero(labelled)})
    return Income(made, scores, truths, labelled)
