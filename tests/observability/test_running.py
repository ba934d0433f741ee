"""A running platform shows what dashboards and alerts read."""

import re
import time

import httpx
import pytest
from observability.dashboards import DASHBOARDS

from tests.observability import promql
from tests.observability.test_dashboards import _expressions
from tests.system.conftest import MakeUp, Up, make_up  # noqa: F401 - a fixture

_FIGURES_SECONDS = 60
_OF_OTHER_PROCESSES = ("tidemill_backup_", "tidemill_restore_drill_", "tidemill_certificate_", "tidemill:")
"""Shown by the service that makes backups, only where there is TLS, or recorded by rules."""


def _processes(up: Up) -> dict[str, str]:
    addresses = up.addresses
    return {
        name: httpx.get(f"{addresses[name]}/metrics", timeout=30).text for name in ("api", "model_server", "worker")
    }


@pytest.mark.timeout(400)
def test_every_metric_of_ours_that_is_looked_at_is_shown_by_a_running_process(
    prometheus: str,
    make_up: MakeUp,  # noqa: F811 - the fixture
) -> None:
    read = {
        metric
        for expr in _expressions()
        for metric in promql.read(prometheus, expr.replace("$deployment", "x")).selected
        if metric.startswith("tidemill")
    }
    up = make_up().start().ready()
    deadline = time.monotonic() + _FIGURES_SECONDS
    while not re.search(r"^tidemill_job_lanes_alive [1-9]", (found := _processes(up))["api"], re.MULTILINE):
        assert time.monotonic() < deadline, found["api"]
        time.sleep(0.5)
    shown = set(re.findall(r"^# TYPE (\S+) ", "\n".join(found.values()), flags=re.MULTILINE))
    families = {re.sub(r"_(bucket|count|sum)$", "", metric) for metric in read}
    missing = {name for name in families - shown if not name.startswith(_OF_OTHER_PROCESSES)}
    assert missing == set()
    assert "tidemill_build_info" in found["worker"]
    assert len(DASHBOARDS) == 7
