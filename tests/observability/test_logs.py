"""Logs: which labels Alloy makes, and that what Loki is told fits."""

import re
from typing import Any

import yaml
from observability.dashboards import DASHBOARDS

from tests.observability.conftest import ROOT
from tidemill.kit.logging import _FIELDS

DEPLOY = ROOT / "deploy"
ALLOY = (DEPLOY / "alloy" / "config.alloy").read_text()


def _loki() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "loki" / "loki.yml").read_text())
    return loaded


def _block(name: str) -> str:
    found = re.search(rf"{re.escape(name)} \{{(.*?)\n  \}}", ALLOY, flags=re.DOTALL)
    assert found is not None, name
    return found[1]


def test_labels_are_service_environment_and_level_only() -> None:
    kept = re.findall(r'"(\w+)"', _block("stage.label_keep"))
    assert set(kept) == {"service", "environment", "level"}
    assert re.findall(r"values = \{ (\w+) ", _block("stage.labels")) == ["level"]
    assert _loki()["limits_config"]["max_label_names_per_series"] <= 5


def test_what_becomes_structured_metadata_is_what_our_lines_carry() -> None:
    metadata = re.findall(r'(\w+)\s+= ""', _block("stage.structured_metadata"))
    assert set(metadata) <= {*_FIELDS, "request_id"}
    assert "request_id" in metadata


def test_old_lines_are_deleted_and_nothing_is_reported_to_anybody() -> None:
    loki = _loki()
    assert loki["limits_config"]["retention_period"] == "${TIDEMILL_LOKI_RETENTION}"
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["compactor"]["delete_request_store"] == "filesystem"
    assert loki["analytics"]["reporting_enabled"] is False
    (schema,) = loki["schema_config"]["configs"]
    assert (schema["store"], schema["schema"], schema["index"]["period"]) == ("tsdb", "v13", "24h")


def test_a_line_leads_to_the_dashboard_that_shows_its_request() -> None:
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "datasources.yml"
    (loki,) = (source for source in yaml.safe_load(file.read_text())["datasources"] if source["type"] == "loki")
    (link,) = loki["jsonData"]["derivedFields"]
    assert re.search(link["matcherRegex"], '{"level": "info", "request_id": "0191-ab.c", "msg": "x"}') is not None
    assert DASHBOARDS["logs"].uid in link["url"]
    assert "request_id" in {variable.name for variable in DASHBOARDS["logs"].variables}
