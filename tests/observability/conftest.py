"""The tools that read the shipped files: from the PATH, or out of the images that the stack runs."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager"
_TIMEOUT_SECONDS = 120

Tool = Callable[..., str]
"""Runs a program with arguments and gives what it printed; fails the test when it fails."""


def _image_of(service: str) -> str:
    """The image of a service as the stack names it; an image's default comes after ``:-``."""
    services = yaml.safe_load((ROOT / "deploy" / "compose" / "observability.yaml").read_text())["services"]
    name = str(services[service]["image"])
    return name.partition(":-")[2].removesuffix("}") if name.startswith("${") else name


def _from_image(image: str, path: str, folder: Path) -> Path | None:
    """A program taken out of an image that Docker has; None without Docker or image. Nothing is pulled."""
    if shutil.which("docker") is None:
        return None
    made = subprocess.run(["docker", "create", "--pull=never", image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return None
    container, target = made.stdout.strip(), folder / Path(path).name
    copied = subprocess.run(["docker", "cp", f"{container}:{path}", str(target)], capture_output=True, check=False)
    subprocess.run(["docker", "rm", container], capture_output=True, check=True)
    return target if copied.returncode == 0 else None


def missing(message: str) -> NoReturn:
    """Something that a test runs is not here: on CI that is a failure, nothing may be left out there."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _missing(name: str) -> NoReturn:
    missing(f"{name} is neither on the PATH nor in an image that Docker has (`make tool-images` pulls them)")


def _tool(found: Path | None, name: str) -> Tool:
    if found is None:
        _missing(name)

    def run(*arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [str(found), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, cwd=cwd, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path | None]:
    """``programs("promtool", "prometheus", "/bin/promtool")``: where the program is, None if nowhere."""

    def find(name: str, service: str, *paths: str) -> Path | None:
        if (on_path := shutil.which(name)) is not None:
            return Path(on_path)
        image, folder = _image_of(service), tmp_path_factory.mktemp(name)
        images = (image, f"{image.partition(':')[0]}:latest")
        found = (_from_image(image, path, folder) for image in images for path in paths)
        return next((program for program in found if program is not None), None)

    return find


@pytest.fixture(scope="session")
def promtool(programs: Callable[..., Path | None]) -> Tool:
    return _tool(programs("promtool", "prometheus", "/bin/promtool"), "promtool")


@pytest.fixture(scope="session")
def amtool(programs: Callable[..., Path | None]) -> Tool:
    return _tool(programs("amtool", "alertmanager", "/bin/amtool"), "amtool")


@pytest.fixture(scope="session")
def prometheus(programs: Callable[..., Path | None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Prometheus that asks nobody."""
    program = programs("prometheus", "prometheus", "/usr/lib/prometheus/prometheus", "/bin/prometheus")
    if program is None:
        _missing("prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), _free_port()
    (folder / "prometheus.yml").write_text("{}")
    command = [str(program), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/-/ready", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def alerts() -> list[dict[str, Any]]:
    """Every alerting rule, as it is written."""
    groups = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
