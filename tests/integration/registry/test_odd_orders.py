"""Orders that fit the schema, however odd, end in success or with a code that says why, never as ``internal``."""

from typing import Any

import httpx
import pandas as pd
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.registry.conftest import Enrol
from tests.integration.registry.trained import train, useless
from tidemill.db.engine import SessionFactory, transaction

_POLICIES: tuple[dict[str, Any], ...] = (
    {"resamples": 1000, "confidence": 0.5, "max_rows": 100, "seed": 2**32 - 1},
    {"baseline_margin": 1e308, "champion_margin": 1e308, "confidence": 0.999},
    {"metric": "rmse"},
    {"metric": "f1", "baseline_margin": 5e-324, "unscorable_champion": "promote"},
)
_WINDOWS = (
    {"since": "0001-01-01T00:00:00Z", "until": "0001-01-01T00:00:00.000001Z"},
    {"until": "0001-01-01T00:00:00.000001+00:00"},
    {"since": "9999-12-30T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"},
    {"since": "2026-01-01T00:00:00Z", "until": "2027-01-02T00:00:00Z", "model_version": 999_999_999},
)
_SOURCES = (
    {"mlflow_model": f"{'x' * 250}/999999999"},
    {"mlflow_model": "a%2Fb/1"},
    {"mlflow_model": "'; DROP MODEL \U0001f600/1"},
    {"mlflow_model": "name ='x' AND @latest"},
    {"mlflow_model": " @ "},
    {"run_id": "0" * 32, "artifact_path": "../../etc"},
    {"model_uri": "models:/m-0"},
)


async def test_every_odd_order_of_the_registry_and_of_monitoring_ends_well_or_says_why(
    api: httpx.AsyncClient, enrol: Enrol, sessions: SessionFactory, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    await enrol(useless(frame), "useless")
    await enrol(train(frame, "age", "town"), "good")
    url = "/api/v1/models/loans"
    (await api.put("/api/v1/deployments/loans", json={"model": "loans:1"})).raise_for_status()
    for window in _WINDOWS:
        asked = await api.post("/api/v1/monitoring/reports", json={"deployment": "loans"} | window)
        assert asked.status_code in (202, 422), asked.text
    for source in _SOURCES:
        (await api.post("/api/v1/models/adopted/versions:import", json=source)).raise_for_status()
    for first, second in ((1, 2), (2, 2)):
        odd = {"version": first, "other": second, "resamples": 1000, "confidence": 0.999, "seed": 2**32 - 1}
        (await api.post(f"{url}:compare", json=odd)).raise_for_status()
    for policy in _POLICIES:
        (await api.put(f"{url}/policy", json=policy)).raise_for_status()
        asked = await api.post(f"{url}:promote", json={"version": 2})
        assert asked.status_code in (200, 202, 409), asked.text
        await run_jobs()
    async with transaction(sessions) as session:
        rows = (await session.execute(text("SELECT kind, status, error->>'code' AS code FROM jobs"))).all()
    assert {row.status for row in rows} <= {"succeeded", "failed"}
    assert [row for row in rows if row.status == "failed" and row.code in (None, "internal", "compute_died")] == []
    assert {row.kind for row in rows} >= {"monitoring.report", "registry.compare", "registry.gate", "registry.import"}
