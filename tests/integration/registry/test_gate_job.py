"""The gate as a job: from a registration to an alias, a stored decision and a refusal."""

import httpx
import pandas as pd
import pytest
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.registry.conftest import Enrol
from tests.integration.registry.models import register
from tests.integration.registry.trained import train, useless
from tidemill.db.engine import SessionFactory, transaction

URL = "/api/v1/models/loans"


async def test_the_first_version_that_beats_the_baseline_becomes_champion(
    api: httpx.AsyncClient, enrol: Enrol, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    await enrol(train(frame, "age", "town"), "good")
    await run_jobs()
    assert (await api.get(URL)).json()["aliases"] == {"champion": 1}
    decision = (await api.get(f"{URL}/decisions")).json()["items"][0]
    assert (decision["passed"], decision["number"], decision["champion_number"]) == (True, 1, None)
    assert decision["comparisons"][0]["low"] > 0
    history = (await api.get(f"{URL}/history")).json()["items"]
    assert [(event["alias"], event["kind"], event["to_number"]) for event in history] == [
        ("challenger", "removed", None),
        ("champion", "gate", 1),
        ("challenger", "registered", 1),
    ]
    assert history[1]["decision_id"] == decision["id"]


async def test_a_refused_version_stays_challenger_and_a_promotion_is_refused_with_the_reasons(
    api: httpx.AsyncClient, enrol: Enrol, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    await enrol(useless(frame), "useless")
    await run_jobs()
    assert (await api.get(URL)).json()["aliases"] == {"challenger": 1}
    refused = await api.post(f"{URL}:promote", json={"version": 1})
    assert (refused.status_code, refused.json()["title"], refused.json()["code"]) == (409, "Refused", "gate_refused")
    assert "Not shown to be better" in refused.json()["errors"][0]["detail"]
    policy = {"baseline_margin": 0.5}
    assert (await api.put(f"{URL}/policy", json=policy)).json()["revision"] == 2
    asked = await api.post(f"{URL}:promote", json={"version": 1, "reason": "Good enough for us"})
    assert asked.status_code == 202, asked.text
    await run_jobs()
    event = (await api.get(f"{URL}/history", params={"alias": "champion"})).json()["items"][0]
    assert (event["kind"], event["why"], event["to_number"]) == ("promoted", "Good enough for us", 1)


async def test_a_promotion_that_the_gate_refuses_fails_its_job_as_refused(
    api: httpx.AsyncClient, enrol: Enrol, sessions: SessionFactory, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    warning = {"code": "target_leak", "severity": "error", "detail": "Column age alone predicts the target"}
    await enrol(train(frame, "age", "town"), "leaky", warnings=[warning])
    job_id = (await api.post(f"{URL}:promote", json={"version": 1})).json()["job_id"]
    await run_jobs()
    async with transaction(sessions) as session:
        row = (await session.execute(text("SELECT status, error FROM jobs WHERE id = :id"), {"id": job_id})).one()
    assert (row.status, row.error["kind"], row.error["code"]) == ("failed", "Refused", "gate_refused")
    assert row.error["problems"][0]["detail"] == "Check leakage failed: Column age alone predicts the target"
    assert len((await api.get(f"{URL}/decisions")).json()["items"]) == 2


async def test_a_missing_bundle_fails_the_gates_job_and_moves_nothing(
    api: httpx.AsyncClient, sessions: SessionFactory, run_jobs: RunJobs
) -> None:
    await register(sessions)
    await run_jobs()
    assert (await api.get(URL)).json()["aliases"] == {"challenger": 1}
    async with transaction(sessions) as session:
        assert (await session.scalar(text("SELECT error->>'code' FROM jobs"))) == "object_not_found"


async def test_a_better_version_takes_over_and_a_worse_one_stays_challenger(
    api: httpx.AsyncClient, enrol: Enrol, sessions: SessionFactory, run_jobs: RunJobs, dataset_version_id: str,
    frame: pd.DataFrame,
) -> None:  # fmt: skip
    for name, columns in (("weak", ("town",)), ("strong", ("age", "town")), ("worse", ("age",))):
        await enrol(train(frame, *columns), name, dataset_version_id=dataset_version_id)
        await run_jobs()
    assert (await api.get(URL)).json()["aliases"] == {"champion": 2, "challenger": 3}
    worse, better, first = (await api.get(f"{URL}/decisions")).json()["items"]
    assert [first["passed"], better["passed"], worse["passed"]] == [True, True, False]
    assert {check["code"]: check["passed"] for check in better["checks"]} == {
        "signature": True, "leakage": True, "finite_predictions": True, "bundle": True,
    }  # fmt: skip
    against = better["comparisons"][1]
    assert (against["number"], against["row_count"], against["rows_seen_by_other"]) == (1, 200, 0)
    assert against["low"] > 0
    assert worse["comparisons"][1]["high"] < 0
    compared = await api.post(f"{URL}:compare", json={"version": 1, "other": 2})
    await run_jobs()
    async with transaction(sessions) as session:
        query = text("SELECT result FROM jobs WHERE id = :id")
        result = await session.scalar(query, {"id": compared.json()["job_id"]})
    assert (result["scored"], result["holdout_of"], len(result["differences"])) == (True, 1, 7)
    assert result["differences"][0]["difference"] == pytest.approx(-against["difference"])
    refused = await api.delete("/api/v1/datasets/people/versions/1")
    assert (refused.status_code, "model/loans:1" in refused.text) == (409, True)
