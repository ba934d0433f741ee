"""Logs: what Alloy may ask of Docker, which labels it makes, and that what Loki is told fits."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from observability.dashboards import DASHBOARDS

from tests.observability.conftest import ROOT, missing
from tidemill.kit.logging import _FIELDS

DEPLOY = ROOT / "deploy"
ALLOY = (DEPLOY / "alloy" / "config.alloy").read_text()
_SOCKET = Path("/var/run/docker.sock")
_START_SECONDS = 30


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


@pytest.fixture(scope="module")
def docker_logs() -> Iterator[str]:
    """Address of the proxy before Docker's socket, run as the stack runs it."""
    if shutil.which("docker") is None or not _SOCKET.exists():
        missing("Docker is not here")
    name = f"tidemill-test-docker-logs-{time.time_ns()}"
    command = [
        "docker", "run", "--detach", "--rm", "--pull=never", "--name", name, "--user", f"101:{_SOCKET.stat().st_gid}",
        "--read-only", "--tmpfs=/tmp:size=16m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--volume", f"{DEPLOY}/alloy/docker-logs.conf:/etc/nginx/docker-logs.conf:ro",
        "--volume", f"{_SOCKET}:{_SOCKET}", "--publish", "127.0.0.1::2375", "--entrypoint", "nginx", "nginx:1.30",
        "-c", "/etc/nginx/docker-logs.conf", "-g", "daemon off;",
    ]  # fmt: skip
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    if started.returncode != 0:
        missing("Docker does not answer, or has no image of Nginx")
    try:
        port = subprocess.run(["docker", "port", name, "2375"], capture_output=True, text=True, check=True).stdout
        url = f"http://{port.split()[0]}"
        _wait_until_answering(url)
        yield url
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def _wait_until_answering(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/_ping", timeout=5)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the proxy did not start")


def test_alloy_may_list_containers_and_read_their_logs(docker_logs: str) -> None:
    assert httpx.get(f"{docker_logs}/_ping").text == "OK"
    containers = httpx.get(f"{docker_logs}/containers/json").json()
    own = next(found["Id"] for found in containers if "docker-logs" in found["Names"][0])
    assert httpx.get(f"{docker_logs}/containers/{own}/json").json()["Id"] == own
    assert httpx.get(f"{docker_logs}/containers/{own}/logs?stdout=1&stderr=1&tail=1").status_code == 200
    assert httpx.get(f"{docker_logs}/networks").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/create"),
        ("POST", "/containers/json"),
        ("POST", "/containers/{id}/exec"),
        ("POST", "/containers/{id}/kill"),
        ("DELETE", "/containers/{id}/json"),
        ("GET", "/containers/{id}/archive?path=/"),
        ("GET", "/containers/{id}/json/../export"),
        ("GET", "/containers/{id}/json%2f..%2fexport"),
        ("GET", "/containers/json/../../images/json"),
        ("GET", "/secrets"),
        ("GET", "/info"),
    ],
)
def test_nobody_may_ask_more_of_docker(docker_logs: str, method: str, path: str) -> None:
    own = httpx.get(f"{docker_logs}/containers/json").json()[0]["Id"]
    answer = httpx.request(method, docker_logs + path.replace("{id}", own))
    assert answer.status_code in (403, 404)
    assert "html" in answer.text  # the proxy's own answer, not Docker's
