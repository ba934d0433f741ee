"""One stack under Docker Compose, from the shipped files."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.s3_servers import find_minio
from tidemill.client import Tidemill
from tidemill.kit.errors import TidemillError

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
STAND_IN = "localhost/s3-standin:latest"
MINIO_IMAGE = "tidemill-test-minio:local"
UP_SECONDS = 420
_BUILD_SECONDS = 1800
_COMMAND_SECONDS = 120
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Stack:
    """A stack of the project ``project``; ``environment`` goes before the env file's values."""

    project: str
    secrets: Path
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.environment['TIDEMILL_HTTPS_PORT']}"

    @property
    def key(self) -> str:
        return (self.secrets / "admin_key").read_text().strip()

    @property
    def client_environment(self) -> dict[str, str]:
        """What the command line and the SDK need to reach the stack through Nginx."""
        return {
            "TIDEMILL_URL": self.url,
            "TIDEMILL_MODEL_SERVER_URL": self.url,
            "TIDEMILL_API_KEY": self.key,
            "SSL_CERT_FILE": str(self.secrets / "tls_certificate"),
        }

    def client(self) -> Tidemill:
        """The SDK. It reads ``SSL_CERT_FILE`` from this process's environment."""
        return Tidemill(self.url, self.key, self.url)

    def get(self, path: str, *, signed: bool = True, **headers: str) -> httpx.Response:
        """What a program with the admin key is answered through Nginx."""
        known = {"Authorization": f"Bearer {self.key}"} if signed else {}
        trust = ssl.create_default_context(cafile=str(self.secrets / "tls_certificate"))
        return httpx.get(f"{self.url}{path}", headers={**known, **headers}, verify=trust, timeout=30)

    def cli(self, *arguments: str, folder: Path) -> Any:
        """Run the command line as a user does; its JSON. Fails with what it said."""
        command = [sys.executable, "-m", "tidemill.cli.main", "-o", "json", *arguments]
        done = run(command, {**os.environ, **self.client_environment}, 300, folder)
        return json.loads(done) if done.strip() else None

    def compose(self, *arguments: str, timeout_seconds: float = _COMMAND_SECONDS) -> str:
        command = ["docker", "compose", "--env-file", str(DEPLOY / "staging.env"), "-f", str(DEPLOY / "compose.yaml")]
        return run([*command, *arguments], {**os.environ, **self.environment}, timeout_seconds)

    def up(self, *arguments: str) -> None:
        """Bring everything up and wait until it is healthy, as the documents say."""
        limit = str(UP_SECONDS - 60)
        self.compose("up", "--detach", "--wait", "--wait-timeout", limit, *arguments, timeout_seconds=UP_SECONDS)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What Docker knows of the running containers of a service."""
        ids = self.compose("ps", "--quiet", service).split()
        return list(json.loads(run(["docker", "inspect", *ids], os.environ, _COMMAND_SECONDS))) if ids else []

    def kill(self, container: Mapping[str, Any]) -> None:
        """End every process of a container at once, as a crash of its machine would; Docker starts it anew."""
        everything = ["docker", "exec", container["Id"], "sh", "-c", "kill -9 -1"]
        subprocess.run(everything, capture_output=True, timeout=_COMMAND_SECONDS, check=False)

    def python(self, service: str, program: str) -> str:
        """Run a program with the platform's Python in a container of ``service``."""
        return self.compose("exec", "-T", service, "python", "-c", program)

    def save_logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for service in self.compose("config", "--services").split():
            (folder / f"{service}.log").write_text(self.compose("logs", "--no-color", "--timestamps", service))


def run(command: list[str], environment: Mapping[str, str], timeout_seconds: float, folder: Path | None = None) -> str:
    """The standard output; fails with what the program said."""
    done = subprocess.run(
        command, env=dict(environment), cwd=folder, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    assert done.returncode == 0, f"{' '.join(command[:6])} ... failed:\n{done.stderr[-4000:]}"
    return done.stdout


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Wait for the thing itself; the platform may be away meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except TidemillError:
            pass
        time.sleep(_POLL_SECONDS)
    raise AssertionError("it did not happen in time")


def build(images: Mapping[str, str]) -> None:
    """Build the platform's images; what did not change comes from the cache."""
    for target, name in images.items():
        command = ["docker", "build", "--quiet", "--target", target, "--tag", name, str(ROOT)]
        run(command, os.environ, _BUILD_SECONDS)


def object_store_image(folder: Path) -> str | None:
    """MinIO with the program of this machine, else the stand-in; None to build MinIO as teams do."""
    if program := find_minio():
        output = folder / "minio" / "out"
        output.mkdir(parents=True)
        shutil.copy(program, output / "minio")
        context = f"build={output.parent}"  # instead of the stage that compiles it
        command = [
            "docker",
            "build",
            "--quiet",
            "--build-context",
            context,
            "--tag",
            MINIO_IMAGE,
            str(DEPLOY / "minio"),
        ]
        run(command, os.environ, _BUILD_SECONDS)
        return MINIO_IMAGE
    return STAND_IN if is_present(STAND_IN) else None


def profiles_to_be_had() -> str:
    """COMPOSE_PROFILES with those of which this machine has every image (`make stack-images` pulls them)."""
    images: dict[str, list[str]] = {}
    for name, service in _services("observability.yaml").items():
        for profile in service.get("profiles", ()):
            images.setdefault(profile, []).append(image_of("observability.yaml", name))
    return ",".join(profile for profile, names in images.items() if all(map(is_present, names)))


def image_of(file: str, service: str) -> str:
    """The image that a service has unless a variable names another."""
    return str(_services(file)[service]["image"]).partition(":-")[2].removesuffix("}")


def _services(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose" / file).read_text())["services"])


def is_present(image: str) -> bool:
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    return subprocess.run(command, capture_output=True, timeout=_COMMAND_SECONDS, check=False).returncode == 0
