"""The shipped Nginx files in the image that they ship with, on loopback."""

import json
import os
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("TIDEMILL_NGINX_IMAGE", "nginx:1.30")
_START_SECONDS = 30
_LOG_SECONDS = 10
_WRITABLE = ("/tmp", "/var/cache/nginx", "/etc/nginx/conf.d")


def make_certificate(folder: Path) -> None:
    """A self-signed pair for localhost, readable by the container's user."""
    folder.mkdir(exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(folder / "new.key"), "-out", str(folder / "new.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    for name, new in (("key.pem", "new.key"), ("certificate.pem", "new.pem")):
        (folder / new).chmod(0o644)
        (folder / new).replace(folder / name)


class Edge:
    """One container, run as in production: no capabilities, read-only, user 101."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.certificates = folder / "certificates"
        make_certificate(self.certificates)
        self.acme = folder / "acme"
        (self.acme / ".well-known" / "acme-challenge").mkdir(parents=True)
        folder.chmod(0o755)
        self.port, self.http_port, self.status_port = free_port(), free_port(), free_port()
        own = {
            "TLS_LISTEN": f"127.0.0.1:{self.port}",
            "HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
            "HTTPS_PORT": str(self.port),
            "CERTIFICATE": "/certificates/certificate.pem",
            "CERTIFICATE_KEY": "/certificates/key.pem",
        }
        self.variables = {f"TIDEMILL_EDGE_{name}": value for name, value in {**own, **variables}.items()}
        self.name = f"edge-test-{os.getpid()}-{self.port}"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def start(self) -> None:
        deploy = ROOT / "deploy" / "nginx"
        mounts = {
            deploy / "nginx.conf": "/etc/nginx/nginx.conf",
            deploy / "templates": "/etc/nginx/templates",
            **{file: f"/docker-entrypoint.d/{file.name}" for file in (deploy / "entrypoint.d").iterdir()},
            self.certificates: "/certificates",
            self.acme: "/var/lib/tidemill/acme",
        }
        options = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
        options += [f"--tmpfs={path}:uid=101,gid=101" for path in _WRITABLE]
        options += [f"--env={name}={value}" for name, value in self.variables.items()]
        hardened = ["--user=101:101", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        docker("run", "--detach", "--init", f"--name={self.name}", "--network=host", *hardened, *options, IMAGE)
        self._until_healthy()

    def stop(self) -> None:
        docker("rm", "--force", self.name)

    def run(self, *command: str) -> str:
        """What ``command`` says in the container."""
        return docker("exec", self.name, *command)

    def logs(self) -> str:
        return docker("logs", self.name)

    def access_log(self, until: str) -> list[dict[str, Any]]:
        """The lines written so far, once that of the request ``until`` is among them: Nginx writes by the second."""
        deadline = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.logs().splitlines() if line.startswith('{"ts"')]
            if any(line["request_id"] == until for line in lines):
                return lines
            time.sleep(0.1)
        raise AssertionError("the request is not in the log")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust(), timeout=30, **options)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificates / "certificate.pem"))

    def _until_healthy(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.status_port}/health").status_code == 200:
                    return
            except httpx.TransportError:
                assert time.monotonic() < deadline, self.logs()
                time.sleep(0.05)


def docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
