"""Supervised child processes, with real ones."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tidemill.platform.children import Child, ChildSpec

Start = Callable[..., Awaitable[Child]]


async def _always() -> bool:
    return True


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    children: list[Child] = []

    async def launch(program: str, grace_seconds: float = 5) -> Child:
        spec = ChildSpec(
            "part", [sys.executable, "-u", "-c", program], os.environ, _always, grace_seconds=grace_seconds
        )
        restarts: list[int] = []
        child = Child(spec, tmp_path / "part.log", on_restart=lambda _name, code: restarts.append(code))
        child.codes = restarts  # type: ignore[attr-defined]
        children.append(child)
        await child.start()
        return child

    yield launch
    for child in children:
        await child.stop()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_child_that_dies_is_started_again(start: Start) -> None:
    child = await start("import time; print('here'); time.sleep(60)")
    await _until(lambda: child.log_file.exists() and b"here" in child.log_file.read_bytes())
    assert child.process is not None
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    await _until(lambda: child.log_file.read_bytes().count(b"here") == 2)
    assert child.process.pid != first
    assert child.codes == [-signal.SIGKILL]  # type: ignore[attr-defined]


async def test_a_stopped_child_stays_stopped_and_its_log_is_whole(start: Start) -> None:
    program = (
        "import signal,sys,time\nsignal.signal(15, lambda *a: (print('bye'), sys.exit(0)))\nprint('on'); time.sleep(60)"
    )
    child = await start(program)
    await _until(lambda: child.log_file.exists() and b"on" in child.log_file.read_bytes())
    await child.stop()
    assert child.process is not None
    assert child.process.returncode == 0
    assert child.log_file.read_text() == "on\nbye\n"


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(start: Start) -> None:
    child = await start("import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint('on'); time.sleep(60)", 0.2)
    await _until(lambda: child.log_file.exists() and b"on" in child.log_file.read_bytes())
    await child.stop()
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL
