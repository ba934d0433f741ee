"""The whole platform, started as a user starts it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tidemill.client import Tidemill

README = Path(__file__).parents[2] / "README.md"
START_SECONDS = 400
STOP_SECONDS = 240


@dataclass
class Up:
    """One run of `tidemill up` on free ports."""

    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    output: str = ""

    def start(self, *arguments: str) -> "Up":
        ports = [f"--{name}-port=0" for name in ("api", "model-server", "worker", "mlflow")]
        command = [
            sys.executable,
            "-m",
            "tidemill.cli.main",
            "up",
            "--data-dir",
            str(self.data_dir),
            *ports,
            *arguments,
        ]
        log = (self.data_dir.parent / "up.log").open("w")
        environment = {**os.environ, **self.environment}
        self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment)
        return self

    def ready(self) -> "Up":
        """Wait until a prediction could be served."""
        return self.until(r"^ready ")

    def until(self, pattern: str) -> "Up":
        """Wait until a line of the output matches ``pattern``."""
        deadline = time.monotonic() + START_SECONDS
        while not re.search(pattern, self.read(), re.MULTILINE):
            assert self.process is not None
            assert self.process.poll() is None, self.read()
            assert time.monotonic() < deadline, self.read()
            time.sleep(0.1)
        return self

    def read(self) -> str:
        return (self.data_dir.parent / "up.log").read_text()

    @property
    def addresses(self) -> dict[str, str]:
        return dict(json.loads((self.data_dir / "addresses.json").read_text()))

    @property
    def key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()

    def client(self) -> Tidemill:
        return Tidemill(self.addresses["api"], self.key, self.addresses["model_server"])

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def runs(self, word: str) -> bool:
        """Whether such a supervised process is there that has not ended."""
        for child in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
                if word in " ".join(child.cmdline()):
                    return True
        return False

    def child(self, word: str) -> psutil.Process:
        """The supervised process whose command line holds ``word``."""
        return next(child for child in self.children() if word in " ".join(child.cmdline()))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """`kill -9`; its processes end by themselves, a little later."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)


MakeUp = Callable[..., Up]


@pytest.fixture
def make_up() -> Iterator[MakeUp]:
    yield from _make_ups()


@pytest.fixture(scope="module")
def make_module_up() -> Iterator[MakeUp]:
    yield from _make_ups()


def _make_ups() -> Iterator[MakeUp]:
    """Platforms in a folder of their own: pytest closes its temporary folder to PostgreSQL's user at every start."""
    made: list[Up] = []
    root = Path(tempfile.mkdtemp(prefix="tidemill-system-"))

    def make(**environment: str) -> Up:
        up = Up(root / str(len(made)) / "tidemill", environment)
        up.data_dir.parent.mkdir()
        made.append(up)
        return up

    yield make
    for up in made:
        if up.process is not None and up.process.poll() is None:
            up.stop()
    shutil.rmtree(root)
