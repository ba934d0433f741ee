"""What Alloy may ask of Docker, with the shipped file in its image before a real Docker Engine."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.edge.nginx import IMAGE, ROOT, docker
from tests.observability.test_docker_logs import FORBIDDEN

_SOCKET = Path("/var/run/docker.sock")
_START_SECONDS = 30


@pytest.fixture(scope="module")
def docker_logs() -> Iterator[str]:
    """Address of the proxy before Docker's socket, run as the stack runs it."""
    name = f"tidemill-test-docker-logs-{time.time_ns()}"
    docker(
        "run", "--detach", "--pull=never", "--name", name, "--user", f"101:{_SOCKET.stat().st_gid}",
        "--read-only", "--tmpfs=/tmp:size=16m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--volume", f"{ROOT}/deploy/alloy/docker-logs.conf:/etc/nginx/docker-logs.conf:ro",
        "--volume", f"{_SOCKET}:{_SOCKET}", "--publish", "127.0.0.1::2375", "--entrypoint", "nginx", IMAGE,
        "-c", "/etc/nginx/docker-logs.conf", "-g", "daemon off;",
    )  # fmt: skip
    try:
        url = f"http://{docker('port', name, '2375').split()[0]}"
        _until_answering(url)
        yield url
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def _until_answering(url: str) -> None:
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


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_nobody_may_ask_more_of_docker(docker_logs: str, method: str, path: str) -> None:
    own = httpx.get(f"{docker_logs}/containers/json").json()[0]["Id"]
    answer = httpx.request(method, docker_logs + path.replace("{id}", own))
    assert answer.status_code in (403, 404)
    assert "html" in answer.text  # the proxy's own answer, not Docker's
