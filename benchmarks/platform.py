"""The platform at rest: how quickly `tidemill up` is ready, what it weighs, how soon a worker picks a job up.

``python -m benchmarks.platform [jobs]``
"""

import asyncio
import contextlib
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import psutil
from benchmarks.report import Figure, at_most, record

from tidemill.db.engine import SessionFactory, create_engine, create_session_factory, transaction
from tidemill.features.predictions.tasks import PARTITIONS, PartitionsPayload
from tidemill.jobs import service as jobs
from tidemill.platform import postgres
from tidemill.platform.layout import Layout
from tidemill.settings.model import DatabaseSettings

READY_GOAL_SECONDS = 15.0
IDLE_GOAL_BYTES = 1.2e9
RESTART_GOAL_SECONDS = 3.0
_START_TIMEOUT_SECONDS = 180
_STOP_TIMEOUT_SECONDS = 60
_SETTLING_SECONDS = 15
_JOB_TIMEOUT_SECONDS = 30
_GAP_SECONDS = 0.05
_WARM_STARTS = 3
_RESTARTS = 10
_STEADY_SECONDS = 11
"""A child that ran for less is restarted after a pause."""


@contextlib.contextmanager
def platform(data_dir: Path) -> Iterator[tuple[psutil.Process, float]]:
    """`tidemill up` on free ports, stopped afterwards; with the seconds from the command to ``ready``."""
    ports = [f"--{name}-port=0" for name in ("api", "model-server", "worker", "mlflow")]
    command = [sys.executable, "-m", "tidemill.cli.main", "up", "--data-dir", str(data_dir), *ports]
    output = data_dir.with_suffix(".log")
    began = time.monotonic()
    with output.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT) as process:
        try:
            _wait_until_ready(process, output)
            yield psutil.Process(process.pid), time.monotonic() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_TIMEOUT_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while not re.search(r"^ready ", output.read_text(), re.MULTILINE):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"The platform did not start:\n{output.read_text()}")
        time.sleep(0.02)


def proportional_bytes(root: psutil.Process) -> dict[str, int]:
    """Proportional set size of ``root`` and its descendants, by what they are: shared pages are counted once."""
    sizes: dict[str, int] = {}
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes[_kind(process)] = sizes.get(_kind(process), 0) + process.memory_full_info().pss
    return sizes


def processor_seconds(root: psutil.Process) -> float:
    """Processor time that ``root`` and its descendants have used so far: what a busy machine stretches."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _kind(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    named = ("tidemill.api", "tidemill.model_server", "tidemill.worker", "mlflow", "tidemill.platform", "postgres")
    return next((name.removeprefix("tidemill.") for name in named if name in words), "other")


async def pick_up_seconds(settings: DatabaseSettings, count: int) -> list[float]:
    """From enqueueing to running, for ``count`` jobs that do next to nothing, one after another."""
    engine = create_engine(settings, "bench")
    sessions = create_session_factory(engine)
    try:
        return [await _pick_up(sessions) for _ in range(count)]
    finally:
        await engine.dispose()


async def _pick_up(sessions: SessionFactory) -> float:
    async with transaction(sessions) as session:
        job_id = (await jobs.enqueue(session, PARTITIONS, PartitionsPayload(), jobs.JobRequest(principal="bench"))).id
    async with asyncio.timeout(_JOB_TIMEOUT_SECONDS):
        while True:
            await asyncio.sleep(_GAP_SECONDS)
            async with transaction(sessions) as session:
                job = await jobs.get(session, job_id)
            if job.finished_at is not None and job.started_at is not None:
                return (job.started_at - job.created_at).total_seconds()


def percentile_95(values: Sequence[float]) -> float:
    """The smallest that at least 95% are not above."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def restart_seconds(layout: Layout, root: psutil.Process, count: int) -> list[tuple[float, float]]:
    """From ``kill -9`` of the model server to its being ready again, with a model of ours loaded before and after.

    Beside each the processor time that the new one has used by then, which a busy machine stretches.
    """
    addresses = json.loads(layout.addresses.read_text())
    _deploy(addresses, layout)
    return [_restart(addresses["model_server"], root) for _ in range(count)]


def _deploy(addresses: dict[str, str], layout: Layout) -> None:
    environment = {
        **os.environ,
        "TIDEMILL_URL": addresses["api"],
        "TIDEMILL_API_KEY": layout.admin_key.read_text().strip(),
    }
    table = layout.root / "bench.csv"
    table.write_text("x,y\n" + "".join(f"{n % 17},{'yes' if n % 17 > 8 else 'no'}\n" for n in range(400)))
    for words in (
        ("dataset", "push", str(table), "--name", "bench"),
        ("train", "submit", "bench", "--target", "y", "--name", "bench", "--trials", "2"),
        ("deploy", "apply", "bench", "--model", "bench:1"),
    ):
        command = [sys.executable, "-m", "tidemill.cli.main", *words]
        subprocess.run(
            command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=_JOB_TIMEOUT_SECONDS * 10
        )
    _until_ready(addresses["model_server"])


def _restart(url: str, root: psutil.Process) -> tuple[float, float]:
    time.sleep(_STEADY_SECONDS)
    began = time.monotonic()
    killed = _model_server(root)
    killed.kill()
    killed.wait(_STOP_TIMEOUT_SECONDS)
    _until_ready(url)
    return time.monotonic() - began, processor_seconds(_model_server(root))


def _model_server(root: psutil.Process) -> psutil.Process:
    return next(each for each in root.children() if _kind(each) == "model_server")


def _until_ready(url: str) -> None:
    """Ready, and no deployment waits for its model."""
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{url}/readyz?verbose", timeout=5)
            if answer.status_code == 200 and answer.json()["notices"]["every_model_loaded"]:
                return
        time.sleep(0.02)
    sys.exit("The model server did not come back.")


def main(count: int) -> None:
    figures = []
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        data_dir = Path(folder) / "data"
        with platform(data_dir) as (_, first_seconds):
            figures.append(Figure("up ready, first start", first_seconds, "s"))
        warm, used = [], []
        for number in range(_WARM_STARTS):
            with platform(data_dir) as (root, seconds):
                warm.append(seconds)
                used.append(processor_seconds(root))
                if number == _WARM_STARTS - 1:
                    time.sleep(_SETTLING_SECONDS)
                    sizes = proportional_bytes(root)
                    settings = DatabaseSettings(url=postgres.url(Layout(data_dir), "tidemill"))
                    restarts = restart_seconds(Layout(data_dir), root, _RESTARTS)
                    picked = sorted(asyncio.run(pick_up_seconds(settings, count)))
    figures.append(at_most("up ready, warm", statistics.median(warm), "s", READY_GOAL_SECONDS))
    figures.append(Figure("up ready, warm: processor time", statistics.median(used), "s"))
    restarted, processor = ([each[index] for each in restarts] for index in (0, 1))
    name = "model server ready again after kill -9"
    figures.append(at_most(f"{name}, median", statistics.median(restarted), "s", RESTART_GOAL_SECONDS))
    figures.append(at_most(f"{name}, 95%", percentile_95(restarted), "s", RESTART_GOAL_SECONDS))
    figures.append(Figure(f"{name}: processor time", statistics.median(processor), "s"))
    figures.append(at_most("idle memory of all processes (PSS)", sum(sizes.values()), "bytes", IDLE_GOAL_BYTES))
    figures += [Figure(f"idle memory of {name} (PSS)", size, "bytes") for name, size in sorted(sizes.items())]
    figures.append(Figure("job pick-up, median", 1000 * statistics.median(picked), "ms"))
    figures.append(Figure("job pick-up, 95%", 1000 * percentile_95(picked), "ms"))
    record(figures, "platform")


if __name__ == "__main__":
    os.environ.pop("TIDEMILL_CONFIG", None)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
