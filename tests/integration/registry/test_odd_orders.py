"""Orders that fit the schema, however odd, end in success or with a code that says why, never as ``internal``."""

import httpx
import pandas as pd
from sqlalchemy import text

from tests.integration.conftest import RunJobs
from tests.integration.registry.conftest import Enrol
from tests.integration.registry.trained import train
from tidemill.db.engine import SessionFactory, transaction

_WINDOWS = (
    {"since": "0001-01-01T00:00:00Z", "until": "0001-01-01T00:00:00.000001Z"},
    {"since": "9999-12-30T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z", "model_version": 999_999_999},
)
_POLICY = {"baseline_margin": 1e308, "champion_margin": 1e308, "confidence": 0.999, "metric": "rmse", "max_rows": 100}
_COMPARISON = {"version": 1, "other": 1, "resamples": 1000, "confidence": 0.999, "seed": 2**32 - 1}


async def test_every_odd_order_of_the_registry_and_of_monitoring_ends_well_or_says_why(
    api: httpx.AsyncClient, enrol: Enrol, sessions: SessionFactory, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    await enrol(train(frame, "age", "town"), "good")
    (await api.put("/api/v1/models/loans/policy", json=_POLICY)).raise_for_status()
    (await api.put("/api/v1/deployments/loans", json={"model": "loans:1"})).raise_for_status()
    for window in _WINDOWS:
        asked = await api.post("/api/v1/monitoring/reports", json={"deployment": "loans"} | window)
        assert asked.status_code == 202, asked.text
    (await api.post("/api/v1/models/loans:compare", json=_COMPARISON)).raise_for_status()
    await run_jobs()
    async with transaction(sessions) as session:
        jobs = (await session.execute(text("SELECT kind, status, error->>'code' AS code FROM jobs"))).all()
    assert {job.kind for job in jobs} == {"monitoring.report", "registry.compare", "registry.gate"}
    assert {job.status for job in jobs if job.kind == "monitoring.report"} == {"succeeded"}
    assert {job.status for job in jobs} <= {"succeeded", "failed"}
    assert [job for job in jobs if job.status == "failed" and job.code in (None, "internal", "compute_died")] == []
