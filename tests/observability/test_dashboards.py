"""Dashboards and rules are what the code says, can be read, and show only what exists."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from observability.__main__ import files
from observability.dashboards import DASHBOARDS
from observability.panels import Dashboard, Panel

from tests.observability import promql
from tests.observability.conftest import PROMETHEUS, ROOT

_FROM_SCRAPING = {"job", "instance", "le"}
_RULES = [
    rule
    for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
_PANELS = [(dashboard, panel) for dashboard in DASHBOARDS.values() for panel in dashboard.panels()]


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in _RULES)
    yield from (query.expr for _, panel in _PANELS if not panel.loki for query in panel.queries)


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Every metric that the platform, its exporters or our rules make, with its labels."""
    found: dict[str, set[str]] = yaml.safe_load((Path(__file__).parent / "exporter_metrics.yml").read_text())
    known = {name: set(labels) for name, labels in found.items()}
    for metric in _our_metrics():
        labels = set(re.findall(r"`(\w+)`", metric.labels))
        for suffix in ("", "_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",):
            known[metric.name + suffix] = labels
    for rule in _RULES:
        if "record" in rule:
            known[rule["record"]] = set(rule["labels"])
    return known


def _our_metrics() -> list[Any]:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.metrics())


def test_the_generated_files_are_up_to_date() -> None:
    stale = [str(path) for path, text in files().items() if not path.is_file() or path.read_text() != text]
    assert stale == [], "run make dashboards"
    assert {path.stem for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")} == set(DASHBOARDS)


def test_every_expression_parses_and_reads_only_metrics_and_labels_that_exist(
    prometheus: str, known: dict[str, set[str]]
) -> None:
    for expr in _expressions():
        reading = promql.read(prometheus, expr.replace("$deployment", "x"))
        assert reading.selected or expr.startswith("vector("), expr
        possible = set(_FROM_SCRAPING)
        for metric, labels in reading.selected.items():
            assert metric in known, f"{metric} in {expr}"
            assert labels <= known[metric] | _FROM_SCRAPING, f"{labels - known[metric]} of {metric} in {expr}"
            possible |= known[metric]
        assert reading.grouped <= possible, f"{reading.grouped - possible} in {expr}"


def test_legends_name_labels_that_the_expression_leaves(prometheus: str, known: dict[str, set[str]]) -> None:
    for _, panel in _PANELS:
        for query in panel.queries if not panel.loki else ():
            reading = promql.read(prometheus, query.expr.replace("$deployment", "x"))
            possible = _FROM_SCRAPING.union(*(known[metric] for metric in reading.selected))
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= possible, (panel.title, query.legend)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_a_dashboard_is_laid_out_without_overlaps_and_says_what_it_shows(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard.as_json()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["targets"], panel["title"]


def test_dashboards_have_names_of_their_own_and_use_only_their_own_variables() -> None:
    uids = [dashboard.uid for dashboard in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids)
    for dashboard in DASHBOARDS.values():
        text = json.dumps([panel.as_json(1, (0, 0)) for panel in dashboard.panels()])
        used = set(re.findall(r"\$\{?(?!__)(\w+)", text)) - {"prometheus"}
        assert used <= {variable.name for variable in dashboard.variables}, dashboard.title
        declared = {variable.name for variable in dashboard.variables}
        assert declared <= used, dashboard.title


def test_panels_lead_to_the_logs_of_services_that_there_are() -> None:
    services: set[str] = set()
    for file in (ROOT / "deploy" / "compose").glob("*.yaml"):
        services |= set(yaml.safe_load(file.read_text()).get("services") or {})
    linked = {panel.logs_of for _, panel in _PANELS if panel.logs_of is not None}
    assert linked - services == set()
    assert {"api", "model-server", "worker"} <= linked


def test_the_data_sources_of_panels_are_provisioned() -> None:
    provisioned = yaml.safe_load(
        (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "datasources.yml").read_text()
    )
    uids = {source["uid"] for source in provisioned["datasources"]}
    for _, panel in _PANELS:
        assert panel.datasource["uid"] in uids | {"${prometheus}"}


def test_logs_are_chosen_by_their_three_labels_alone() -> None:
    """Loki would search every stream for a label that it does not have."""
    for panel in (panel for _, panel in _PANELS if panel.loki):
        for query in panel.queries:
            selector = query.expr[query.expr.index("{") : query.expr.index("}")]
            assert set(re.findall(r"(\w+)=~", selector)) == {"environment", "service", "level"}


def test_a_panel_shows_thresholds_in_rising_order() -> None:
    panels: list[Panel] = [panel for _, panel in _PANELS if panel.steps]
    assert panels
    for panel in panels:
        assert list(panel.steps) == sorted(panel.steps), panel.title
