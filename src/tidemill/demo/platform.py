"""The demo's own platform: started if it is not up yet, left or stopped at the end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tidemill.kit.errors import NotFound, Unavailable
from tidemill.kit.own_files import open_own, read_own
from tidemill.platform.layout import Layout

_PORTS = {"--api-port": 8000, "--model-server-port": 8001, "--worker-port": 8002, "--mlflow-port": 5000}
_START_SECONDS = 240
_STOP_SECONDS = 90


@dataclass(frozen=True)
class Running:
    """A platform that is ready; ``stays`` says that it goes on after the demo, if all goes well."""

    addresses: Mapping[str, str]
    stays: bool


@contextlib.contextmanager
def running_platform(data_dir: Path, console: Console, keep: bool) -> Iterator[Running]:
    """The platform in ``data_dir``. One that was up already, or that is to be kept, is left running."""
    if Layout(data_dir).is_in_use():
        console.print(f"  the platform in {data_dir.name} is up already")
        yield Running(_addresses(data_dir), stays=True)
        return
    process = _start(data_dir, console)
    left_running = False
    try:
        yield Running(_addresses(data_dir), stays=keep)
        left_running = keep
    finally:
        if not left_running:
            _stop(process)


def _addresses(data_dir: Path) -> dict[str, str]:
    file = Layout(data_dir).addresses
    try:
        return {name: str(address) for name, address in json.loads(read_own(file)).items()}
    except (ValueError, AttributeError, NotFound):
        raise Unavailable("addresses_damaged", f"{file} is missing or damaged; start the platform anew.") from None


def _start(data_dir: Path, console: Console) -> subprocess.Popen[bytes]:
    arguments = [f"{option}={_free(port)}" for option, port in _PORTS.items()]
    command = [sys.executable, "-m", "tidemill.platform", "--data-dir", str(data_dir), *arguments]
    console.print(f"[bold cyan]$ tidemill up --data-dir {data_dir.name}[/]")
    log = data_dir / "demo-up.log"
    with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as out:
        # its output goes to a file, and it has a session of its own, so that it can outlive the demo
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    _wait_until_ready(process, log, console)
    return process


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, console: Console) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with console.status("starting") as status:
        while time.monotonic() < deadline:
            lines = log.read_text(errors="replace").splitlines()
            if any(line.startswith("ready") for line in lines):
                console.print(f"  {lines[-1]}")
                return
            if process.poll() is not None:
                break
            status.update((lines or ["starting"])[-1].strip())
            time.sleep(0.1)
    _stop(process)
    raise Unavailable("demo_platform_failed", f"The platform did not start:\n{log.read_text(errors='replace')[-1500:]}")


def _free(port: int) -> int:
    """``port`` if nobody listens there, else 0, which means any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
