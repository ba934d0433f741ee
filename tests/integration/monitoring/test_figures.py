"""The latest report of each deployment as metrics."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from tests.integration.monitoring.conftest import Income, MakeReport
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.api.figures import PlatformFigures
from tidemill.db.engine import SessionFactory, transaction
from tidemill.deps import ApiServices
from tidemill.settings.model import Settings
from tidemill.web.metrics import create_registry


@pytest.fixture
def figures(settings: Settings, sessions: SessionFactory, store: ObjectStore, mlflow: MlflowRest) -> PlatformFigures:
    return PlatformFigures(ApiServices(settings, sessions, store, mlflow, create_registry()))


async def shown(figures: PlatformFigures) -> str:
    await figures.refresh()
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry).decode()


async def test_the_latest_report_of_a_deployment_is_shown_with_intervals_and_verdict(
    figures: PlatformFigures, sessions: SessionFactory, make_report: MakeReport, income: Income
) -> None:
    async with transaction(sessions) as session:
        row = "INSERT INTO deployments (id, name, model_name, alias, created_by, updated_by) "
        values = "VALUES ('dep_1', 'adult-income', 'adult-income', 'champion', 'key_0', 'key_0')"
        await session.execute(text(row + values))
    assert "tidemill_monitoring_verdict{" not in await shown(figures)
    report = await make_report("adult-income")
    found = await shown(figures)
    live = next(metric for metric in report["content"]["total"]["metrics"] if metric["name"] == "roc_auc")["live"]
    labels = 'deployment="adult-income",measured_on="live",metric="roc_auc"'
    for bound in ("value", "low", "high"):
        assert f'tidemill_monitoring_metric{{bound="{bound}",{labels}}} {live[bound]!r}' in found
    verdict = report["content"]["total"]["verdict"]
    assert f'tidemill_monitoring_verdict{{deployment="adult-income",verdict="{verdict}"}} 1.0' in found
    assert 'tidemill_monitoring_label_coverage_ratio{deployment="adult-income"} 0.5' in found
    again = await shown(figures)  # from what was kept of the report
    assert again.count("tidemill_monitoring_metric{") == found.count("tidemill_monitoring_metric{") > 0
