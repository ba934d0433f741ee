"""Programs that tests run: where they are, how new they are, and what brings them where they are not.

A program comes from the PATH, from beside Python (wheels, `make minio`) or, with a Docker Engine, out of the image that
the stack runs. A test whose program is missing is left out with what to install, which the closing lines of the run
repeat; where ``TESTS_COMPLETE`` is set, nothing may be left out and it fails instead.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

COMPLETE = "TESTS_COMPLETE"
_TIMEOUT_SECONDS = 180

Version = tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A program, and how to get a newer one, such as ``make tool-images with Docker``."""

    command: tuple[str, ...]
    version: Version
    install: str

    @property
    def name(self) -> str:
        return " ".join(Path(word).name for word in self.command)

    def at_least(self, *version: int) -> None:
        """Leave the test out if the program is older."""
        if self.version < version:
            older, wanted = (".".join(map(str, number)) for number in (self.version, version))
            left_out(f"no {self.name} {wanted} or newer, only {older}", self.install)

    def run(self, *arguments: str) -> str:
        """What it prints; fails the test when it fails."""
        done = subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def left_out(lack: str, install: str) -> NoReturn:
    """What a test runs is not here."""
    message = f"{lack} ({install})"
    if os.environ.get(COMPLETE):
        pytest.fail(message)
    pytest.skip(message)


def find(name: str) -> str | None:
    """On the PATH, or beside Python."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def need(name: str, install: str) -> None:
    """Leave the test out where ``name`` is not on the PATH."""
    if find(name) is None:
        left_out(f"no {name}", install)


def program(path: str | Path, install: str, *version_arguments: str) -> Program | None:
    """The program that ``path`` is, if it runs and says its version when given ``version_arguments``."""
    return _program((str(path),), version_arguments or ("--version",), install)


def docker_compose() -> Program:
    """Docker Compose 2, as Docker's plugin or standing alone; it needs no engine to read files."""
    install = "Docker's Compose plugin; apt-get install docker-compose since Debian 13"
    candidates: list[tuple[str, ...]] = [(docker, "compose")] if (docker := find("docker")) else []
    candidates += [(alone,)] if (alone := find("docker-compose")) else []
    found = [made for command in candidates if (made := _program(command, ("version", "--short"), install))]
    if not found:
        left_out("no Docker Compose", install)
    newest = max(found, key=lambda one: one.version)
    newest.at_least(2, 24)
    return newest


def docker_answers() -> bool:
    """True where a Docker Engine is behind the command ``docker``."""
    docker = find("docker")
    return docker is not None and _output((docker, "version", "--format", "{{.Server.Version}}")) is not None


def _program(command: tuple[str, ...], version_arguments: tuple[str, ...], install: str) -> Program | None:
    said = _output((*command, *version_arguments))
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said) if said is not None else None
    if found is None:
        return None
    return Program(command, tuple(int(part) for part in found.groups(default="0")), install)


def _output(command: tuple[str, ...]) -> str | None:
    """Both streams; None if it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
