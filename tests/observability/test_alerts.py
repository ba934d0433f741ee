"""Every alert fires when it should and only then, and leads to a page that helps."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.conftest import ALERTMANAGER, PROMETHEUS, ROOT
from tests.programs import Program

# As text: PromQL writes "0x10" for ten samples of nought, YAML for sixteen.
CASES: list[dict[str, Any]] = yaml.load((Path(__file__).parent / "alert_cases.yml").read_text(), yaml.BaseLoader)
_OLDEST_ALERTMANAGER = (0, 28)  # reads the webhook's timeout
RUNBOOKS = ROOT / "docs" / "runbooks"


def test_every_alert_has_a_case_and_every_case_an_alert(alerts: list[dict[str, Any]]) -> None:
    assert [case["alert"] for case in CASES] == [rule["alert"] for rule in alerts]
    assert [case["alert"] for case in CASES if "quiet" not in case] == ["Watchdog"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["alert"]))
def test_an_alert_fires_when_it_should_and_only_then(case: dict[str, Any], promtool: Program, tmp_path: Path) -> None:
    suite = {
        "rule_files": [str(PROMETHEUS / "rules" / name) for name in _rule_files(case)],
        # Else promtool may look at an alert before the records that it reads, of the same moment, are made.
        "group_eval_order": _group_order(case),
        "evaluation_interval": case.get("every", "1m"),
        "tests": [_test(case, name, fires) for name, fires in (("fires", True), ("quiet", False)) if name in case],
    }
    file = tmp_path / "suite.yml"
    file.write_text(yaml.safe_dump(suite))
    assert "SUCCESS" in promtool.run("test", "rules", str(file))


def _rule_files(case: dict[str, Any]) -> list[str]:
    """The recorded objectives are many and slow to evaluate, and only their own alerts read them."""
    return ["objectives.yml", "alerts.yml"] if case["alert"].startswith("ErrorBudget") else ["alerts.yml"]


def _group_order(case: dict[str, Any]) -> list[str]:
    groups = [yaml.safe_load((PROMETHEUS / "rules" / name).read_text())["groups"] for name in _rule_files(case)]
    return [group["name"] for found in groups for group in found]


def _test(case: dict[str, Any], name: str, fires: bool) -> dict[str, Any]:
    firing = f'sum(ALERTS{{alertname="{case["alert"]}",alertstate="firing"}}) > bool 0'
    return {
        "name": f"{case['alert']} {name}",
        "interval": case.get("every", "1m"),
        "input_series": [{"series": series, "values": str(values)} for series, values in case[name].items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": case["after"],
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def test_an_alert_tells_what_happens_how_bad_it_is_and_where_to_read_on(alerts: list[dict[str, Any]]) -> None:
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "none"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
        expected = "{{ $externalLabels.runbooks }}/" + rule["alert"] + ".md"
        assert rule["annotations"]["runbook_url"] == expected


def test_every_alert_has_a_runbook_with_its_three_parts_and_every_runbook_an_alert(
    alerts: list[dict[str, Any]],
) -> None:
    pages = {file.stem: file.read_text() for file in RUNBOOKS.glob("*.md") if file.stem != "README"}
    assert set(pages) == {rule["alert"] for rule in alerts}
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n"), name
        assert [line for line in text.splitlines() if line.startswith("## ")] == [
            "## What it means",
            "## How to look",
            "## What to do",
        ], name
        assert f"({name}.md)" in (RUNBOOKS / "README.md").read_text(), name


def test_prometheus_can_read_its_configuration(promtool: Program, tmp_path: Path) -> None:
    promtool.at_least(3, 0)
    for kind in ("minio", "seaweedfs", "external"):
        own = (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus/rules", str(PROMETHEUS / "rules"))
        own = own.replace("/etc/prometheus/object-store.yml", str(PROMETHEUS / "object-store" / f"{kind}.yml"))
        file = tmp_path / f"{kind}.yml"
        file.write_text(own)
        assert "SUCCESS" in promtool.run("check", "config", "--lint=all", "--lint-fatal", str(file))


def test_alertmanager_can_read_its_configuration(amtool: Program) -> None:
    amtool.at_least(*_OLDEST_ALERTMANAGER)
    assert "SUCCESS" in amtool.run("check-config", *map(str, sorted(ALERTMANAGER.glob("*.yml"))))


def test_the_alertmanager_files_differ_in_their_receiver_alone() -> None:
    none, webhook = ((ALERTMANAGER / f"{kind}.yml").read_text() for kind in ("none", "webhook"))
    both = [text.partition("receivers:\n")[0].partition("route:\n")[2] for text in (none, webhook)]
    assert both[0].replace("receiver: none", "receiver: webhook") == both[1]


def test_alerts_go_to_the_receiver_and_a_cause_silences_its_consequences(
    amtool: Program, alerts: list[dict[str, Any]]
) -> None:
    amtool.at_least(*_OLDEST_ALERTMANAGER)
    file = str(ALERTMANAGER / "webhook.yml")
    for rule in alerts:
        labels = (f"alertname={rule['alert']}", f"severity={rule['labels']['severity']}", "environment=staging")
        assert amtool.run("config", "routes", "test", f"--config.file={file}", *labels).split() == ["webhook"]
    known = {rule["alert"] for rule in alerts}
    for inhibition in yaml.safe_load(Path(file).read_text())["inhibit_rules"]:
        for matcher in inhibition["source_matchers"] + inhibition["target_matchers"]:
            named = matcher.partition("=")[2].strip(' ~"').split("|")
            assert set(named) <= known, matcher
