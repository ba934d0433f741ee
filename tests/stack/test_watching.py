"""What watches a stack sees all of it: targets answer, rules are evaluated, metrics exist, lines can be labelled."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from observability.dashboards import DASHBOARDS

from tests.observability import promql
from tests.stack.compose import STAND_IN, Stack, run, until
from tests.stack.conftest import MODEL
from tidemill.client import Tidemill

_SECONDS = 120
_REPLICAS = {"api": 1, "model-server": 2, "worker": 1, "backup": 1, "prometheus": 1, "alertmanager": 1}
_OPTIONAL = {"postgres": "pg_", "nginx": "nginx_", "node": "node_", "object-store": "minio_", "alloy": "loki_"}
"""Scrape jobs that a stack need not have, and how the names of their metrics begin."""
_FROM_THE_FIRST_ERROR_ON = {"minio_s3_requests_5xx_errors_total"}
"""MinIO shows this counter once it has counted; the panel reads its absence as zero."""
_OURS = ("api", "worker", "model-server", "mlflow", "backup", "nginx")
_LEVELS = {"debug", "info", "warning", "error", "critical"}


def _ask(stack: Stack, *urls: str) -> list[Any]:
    """Answers of services that are not published, asked from inside."""
    program = (
        "import json, urllib.request as web;"
        f"print(json.dumps([json.load(web.urlopen(url, timeout=10)) for url in json.loads({json.dumps(urls)!r})]))"
    )
    return list(json.loads(stack.python("api", program)))


def _prometheus(stack: Stack, path: str) -> Any:
    (answer,) = _ask(stack, f"http://prometheus:9090/api/v1/{path}")
    return answer["data"]


def _targets(stack: Stack) -> dict[str, list[str]]:
    """Health of every replica, by scrape job. A stand-in for MinIO shows no metrics, which is not looked at."""
    found: dict[str, list[str]] = {}
    for target in _prometheus(stack, "targets?state=active")["activeTargets"]:
        found.setdefault(target["labels"]["job"], []).append(target["health"])
    if stack.environment.get("TIDEMILL_MINIO_IMAGE") == STAND_IN:
        found.pop("object-store", None)
    return found


def _rules(stack: Stack) -> list[dict[str, Any]]:
    return [rule for group in _prometheus(stack, "rules")["groups"] for rule in group["rules"]]


def test_every_replica_of_every_service_is_scraped(served: Stack) -> None:
    def all_up() -> bool:
        found = _targets(served)
        counts = {name: len(found.get(name, [])) for name in _REPLICAS}
        return counts == _REPLICAS and {health for healths in found.values() for health in healths} == {"up"}

    until(all_up, _SECONDS)


def test_every_rule_is_evaluated_without_a_fault(served: Stack) -> None:
    until(lambda: all(rule["health"] != "unknown" for rule in _rules(served)), _SECONDS)
    rules = _rules(served)
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert {"ErrorBudgetBurnsFast", "BackupTooOld", "tidemill:slo_errors:ratio_rate5m"} <= {r["name"] for r in rules}


def test_what_fires_reaches_alertmanager_with_its_runbook(served: Stack) -> None:
    def watchdog() -> list[Any]:
        (alerts,) = _ask(served, "http://alertmanager:9093/api/v2/alerts")
        return [alert for alert in alerts if alert["labels"]["alertname"] == "Watchdog"]

    (alert,) = until(watchdog, _SECONDS)
    assert alert["labels"]["environment"] == "staging"
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/Watchdog.md"


def test_every_metric_that_is_looked_at_exists_in_the_stack(served: Stack) -> None:
    """By rules and panels; metrics of a profile that does not run here are known from real exporters' answers."""
    rules = _rules(served)
    read = set(_read(served, [rule["query"] for rule in rules] + list(_panels())))
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"} | {"up", "ALERTS"}

    def missing() -> set[str]:
        shown = set(_prometheus(served, "metadata")) | recorded | _FROM_THE_FIRST_ERROR_ON
        elsewhere = tuple(prefix for job, prefix in _OPTIONAL.items() if job not in _targets(served))
        return {name for name in read - shown if not (elsewhere and name.startswith(elsewhere))}

    with contextlib.suppress(AssertionError):  # the next line says which
        until(lambda: not missing(), _SECONDS)
    assert missing() == set()


def _panels() -> Iterator[str]:
    for dashboard in DASHBOARDS.values():
        for panel in dashboard.panels():
            if not panel.loki:
                yield from (query.expr.replace("$deployment", MODEL) for query in panel.queries)


def _read(stack: Stack, expressions: list[str]) -> Iterator[str]:
    """Families of metrics that the expressions read, as the stack's own Prometheus understands them."""
    program = (
        "import json, urllib.parse, urllib.request as web;"
        "ask = lambda expr: json.load(web.urlopen('http://prometheus:9090/api/v1/parse_query',"
        " urllib.parse.urlencode({'query': expr}).encode(), timeout=10))['data'];"
        f"print(json.dumps([ask(expr) for expr in json.loads({json.dumps(expressions)!r})]))"
    )
    for tree in json.loads(stack.python("api", program)):
        for name in promql.reading_of(tree).selected:
            yield re.sub(r"_(bucket|count|sum)$", "", name)


def test_logs_are_lines_that_can_be_labelled_and_hold_no_payload(
    served: Stack, client: Tidemill, inputs: list[Any]
) -> None:
    """Alloy labels a line by Compose's name of the service, the environment and the line's level."""
    remarkable = 7654.321987
    answer = client.predict(MODEL, [{**inputs[0], next(iter(inputs[0])): remarkable}])
    until(lambda: client.predictions.get(answer.predictions[0].prediction_id))
    for service in _OURS:
        lines = [line for found in served.containers(service) for line in _log(found)]
        assert lines, service
        for line in lines:
            said = json.loads(line)
            assert (said["service"], said["environment"]) == (service, "staging"), line
            assert said["level"] in _LEVELS, line
            assert {"ts", "logger", "msg"} <= set(said), line
        assert str(remarkable) not in "".join(lines), service
        assert served.key not in "".join(lines), service


def _log(container: dict[str, Any]) -> list[str]:
    """What the container wrote to stdout; Python's and Nginx's own complaints go to stderr."""
    return run(["docker", "logs", container["Id"]], os.environ, _SECONDS).splitlines()


def _only_with(stack: Stack, service: str) -> None:
    if not stack.containers(service):
        pytest.skip(f"this machine has no image of {service}")


def test_a_request_is_found_in_loki_by_its_id_and_labels_are_three(served: Stack) -> None:
    _only_with(served, "loki")
    request_id = f"stack-test-{time.time_ns()}"
    assert served.get("/api/v1/jobs", **{"X-Request-Id": request_id}).status_code == 200
    for service in ("nginx", "api"):
        query = urlencode({"query": f'{{service="{service}"}} | request_id="{request_id}"'})
        url = f"http://loki:3100/loki/api/v1/query_range?{query}"
        until(lambda asked=url: _ask(served, asked)[0]["data"]["result"], _SECONDS)
    (labels,) = _ask(served, "http://loki:3100/loki/api/v1/labels")
    assert set(labels["data"]) == {"service", "environment", "level"}


def test_grafana_shows_every_dashboard_to_who_signed_in(served: Stack) -> None:
    _only_with(served, "grafana")
    path = "/grafana/api/search?type=dash-db"
    found = {entry["uid"] for entry in served.get(path).json()}
    assert found == {dashboard.uid for dashboard in DASHBOARDS.values()}
    assert served.get(path, signed=False).status_code == 401
