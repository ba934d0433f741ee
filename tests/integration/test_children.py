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

    async def launch(program: str, grace_seconds: float = 5, log: str = "part.log") -> Child:
        command = [program] if program.startswith("/") else [sys.executable, "-u", "-c", program]
        spec = ChildSpec("part", command, os.environ, _always, grace_seconds=grace_seconds)
        restarts: list[int] = []
        child = Child(spec, tmp_path / log, on_restart=lambda _name, code: restarts.append(code))
        child.codes = restarts  # type: ignore[attr-defined]
        children.append(child)
        await child.start()
        return child

    yield launch
    for child in children:
        await child.stop()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
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
    await _until(lambda: child.log_file.exists() and b"on\n" in child.log_file.read_bytes())
    await child.stop()
    assert child.process is not None
    assert child.process.returncode == 0
    assert child.log_file.read_text() == "on\nbye\n"


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(start: Start) -> None:
    child = await start("import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint('on'); time.sleep(60)", 0.2)
    await _until(lambda: child.log_file.exists() and b"on\n" in child.log_file.read_bytes())
    await child.stop()
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


async def test_a_log_that_cannot_be_written_does_not_hold_up_its_child(start: Start, tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = f"import pathlib,time\nprint('x' * 2**20)\npathlib.Path({str(done)!r}).touch(); time.sleep(60)"
    child = await start(program, log="no-such-folder/part.log")
    await _until(done.exists)
    assert not child.log_file.exists()


async def test_a_child_whose_program_is_gone_for_a_while_is_tried_again(start: Start, tmp_path: Path) -> None:
    program, moved = tmp_path / "program", tmp_path / "moved"
    program.write_text("#!/bin/sh\necho here\nexec sleep 60\n")
    program.chmod(0o700)
    child = await start(str(program))
    await _until(lambda: child.log_file.exists() and b"here" in child.log_file.read_bytes())
    program.rename(moved)
    assert child.process is not None
    child.process.kill()
    await _until(lambda: child.restarts >= 2)
    moved.rename(program)
    await _until(lambda: child.log_file.read_bytes().count(b"here") == 2)
