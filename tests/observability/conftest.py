"""The tools that read the shipped files: from the PATH, or out of the images that the stack runs."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.ports import free_port
from tests.programs import Program, docker_answers, find, left_out, program

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager"
_TIMEOUT_SECONDS = 120

_PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
_IMAGES = "make tool-images with Docker"

FindProgram = Callable[..., Program]


def _image_of(service: str) -> str:
    """The image of a service as the stack names it; an image's default comes after ``:-``."""
    services = yaml.safe_load((ROOT / "deploy" / "compose" / "observability.yaml").read_text())["services"]
    name = str(services[service]["image"])
    return name.partition(":-")[2].removesuffix("}") if name.startswith("${") else name


def _from_image(image: str, path: str, folder: Path) -> Path | None:
    """A program taken out of an image that Docker has; None without the image. Nothing is pulled."""
    made = subprocess.run(["docker", "create", "--pull=never", image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return None
    container, target = made.stdout.strip(), folder / Path(path).name
    copied = subprocess.run(["docker", "cp", f"{container}:{path}", str(target)], capture_output=True, check=False)
    subprocess.run(["docker", "rm", container], capture_output=True, check=True)
    return target if copied.returncode == 0 else None


def _from_images(service: str, paths: Sequence[str], folders: pytest.TempPathFactory) -> Iterator[Path]:
    if not docker_answers():
        return
    image = _image_of(service)
    for name in (image, f"{image.partition(':')[0]}:latest"):
        for path in paths:
            if (found := _from_image(name, path, folders.mktemp(Path(path).name))) is not None:
                yield found


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> FindProgram:
    """``programs("promtool", "prometheus", "/bin/promtool")``: a service's program, on the PATH or in its image."""

    def find_it(name: str, service: str, *paths: str) -> Program:
        on_path = [path] if (path := find(name)) is not None else []
        places = itertools.chain(on_path, _from_images(service, paths, tmp_path_factory))
        found = [one for place in places if (one := program(place, _IMAGES)) is not None]
        if not found:
            left_out(f"no {name}", f"apt-get install {_PACKAGES[service]}, or {_IMAGES}")
        return max(found, key=lambda one: one.version)

    return find_it


@pytest.fixture(scope="session")
def promtool(programs: FindProgram) -> Program:
    return programs("promtool", "prometheus", "/bin/promtool")


@pytest.fixture(scope="session")
def amtool(programs: FindProgram) -> Program:
    return programs("amtool", "alertmanager", "/bin/amtool")


@pytest.fixture(scope="session")
def prometheus(programs: FindProgram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Prometheus that asks nobody, and that tells how it reads an expression."""
    server = programs("prometheus", "prometheus", "/usr/lib/prometheus/prometheus", "/bin/prometheus")
    server.at_least(3, 0)
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text("{}")
    command = [*server.command, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
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
