"""A machine to deploy to: a real checkout of a real repository, a real TLS server as Nginx, and programs that stand for
docker and ssh."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.certificates import write_certificate
from tests.programs import need

ROOT = Path(__file__).parents[2]
NAME = "tidemill.test"
KEY = "tm_staging_secret"


def image(letter: str) -> str:
    return f"registry.test/team/tidemill@sha256:{letter * 64}"


def compose_file(*secrets: str) -> str:
    """One that names secrets as the shipped one does."""
    first, *others = secrets
    lines = [f"  {first}:\n    file: ${{TIDEMILL_SECRETS:?run deploy/init}}/{first}\n"]
    lines += [f"  {name}:\n    file: ${{TIDEMILL_SECRETS}}/{name}\n" for name in others]
    return "services: {}\nsecrets:\n" + "".join(lines)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers as a stack does, or as a broken one if the image that is up says so."""

    stack: Path

    def do_GET(self) -> None:
        status, body = self.answer(self.path.partition("?")[0])
        if (self.stack / "up").read_text() in (self.stack / "sick").read_text().split():
            status = 503
        self.send_response(status)
        self.send_header("X-Request-Id", "0123456789abcdef")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, path: str) -> tuple[int, bytes]:
        if path in ("/livez", "/readyz", "/ping"):
            return 200, b"{}"
        if path == "/metrics":
            return 404, b""
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return 401, b""
        states = json.loads((self.stack / "deployments").read_text())
        if path.endswith("/status"):
            return 200, json.dumps({"state": states[path.split("/")[-2]]}).encode()
        return 200, json.dumps({"items": [{"name": name} for name in states]}).encode()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass
class Host:
    root: Path
    stack: Path
    port: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{ROOT / 'tests/deploy/programs'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FAKE_DOCKER": str(self.stack),
        }
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, file: str, content: str) -> str:
        """A commit in the checkout's origin that changes one file; its id."""
        origin = self.root.parent / "origin"
        (origin / file).parent.mkdir(parents=True, exist_ok=True)
        (origin / file).write_text(content)
        self.git("-C", str(origin), "add", "--all")
        self.git("-C", str(origin), "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", file)
        return self.git("-C", str(origin), "rev-parse", "HEAD")

    def rollout(self, letter: str, revision: str, *more: str) -> subprocess.CompletedProcess[str]:
        arguments = ["--image", image(letter), "--revision", revision, "--smoke-timeout", "2", *more]
        return self.run(sys.executable, str(self.root / "deploy/rollout"), "staging", *arguments)

    def tell(self, file: str, content: str) -> None:
        (self.stack / file).write_text(content)

    def calls(self) -> list[str]:
        """What docker was asked since the last time, as ``up a`` (command and image), looks left out."""
        found = [json.loads(line) for line in (self.stack / "calls").read_text().splitlines()]
        self.tell("calls", "")
        short = [(call["arguments"], call["image"]) for call in found]
        return [_short(arguments, name) for arguments, name in short if not {"port", "config", "ps"} & set(arguments)]

    @property
    def running(self) -> str:
        return (self.stack / "up").read_text()


def _short(arguments: list[str], name: str) -> str:
    if arguments[0] == "pull":
        return f"pull {arguments[-1][-1]}"
    if arguments[0] in ("stop", "rm"):
        return " ".join(arguments)
    scaled = [arguments[arguments.index("--scale") + 1]] if "--scale" in arguments else []
    recreated = arguments[arguments.index("--force-recreate") + 1 :] if "--force-recreate" in arguments else []
    return " ".join([arguments[1], name[-1:], *scaled, *recreated])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    need("git", "apt-get install git")
    stack, origin = tmp_path / "stack", tmp_path / "origin"
    stack.mkdir()
    (origin / "deploy").mkdir(parents=True)
    for file in ("calls", "up", "broken", "sick", "servers"):
        (stack / file).write_text("")
    (stack / "address").write_text("0.0.0.0")
    (stack / "deployments").write_text('{"wealth": "ready"}')
    for name in ("rollout", "smoke"):
        shutil.copy(ROOT / "deploy" / name, origin / "deploy" / name)
    (origin / "deploy/staging.env").write_text(f"TIDEMILL_SECRETS=./secrets/staging\nTIDEMILL_SERVER_NAME={NAME}\n")
    (origin / ".gitignore").write_text("deploy/secrets/\ndeploy/releases/\n")
    made = Host(tmp_path / "checkout", stack, 0)
    made.root.mkdir()
    made.git("init", "--quiet", str(origin))
    made.commit("deploy/compose.yaml", compose_file("admin_key", "tls_key"))
    made.git("clone", "--quiet", str(origin), str(made.root))
    secrets = made.root / "deploy/secrets/staging"
    secrets.mkdir(parents=True)
    (secrets / "admin_key").write_text(KEY + "\n")
    handler = type("Handler", (Site,), {"stack": stack})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = write_certificate(secrets, NAME).wrap_socket(server.socket, server_side=True)
        made.port = server.server_address[1]
        made.tell("port", str(made.port))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        server.shutdown()
