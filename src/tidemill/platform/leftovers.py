"""Waits for what an earlier start left behind.

Whoever kills `tidemill up` ends its processes too, but not at once: they answer what they were asked, and PostgreSQL
shuts down. Each inherits a descriptor of one file, whose lock they hold together and the kernel lifts when the last of
them is gone, however it ended. Until then their ports and PostgreSQL's files are not free.
"""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO

import psutil

from tidemill.kit.errors import Conflict
from tidemill.kit.own_files import open_own

_PATIENCE_SECONDS = 40.0
"""Longer than each of them takes to stop in good order."""
_KILLED_SECONDS = 10.0
_POLL_SECONDS = 0.1


@contextlib.asynccontextmanager
async def alone(
    file: Path, on_wait: Callable[[], None] = lambda: None, patience_seconds: float = _PATIENCE_SECONDS
) -> AsyncIterator[int]:
    """A descriptor for children to inherit, once no process lives that inherited an earlier one.

    One that does not end within ``patience_seconds`` is killed. Raises Conflict if even that does not help.
    """
    with os.fdopen(open_own(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a") as handle:
        if not _locked(handle):
            on_wait()
            if not await _until_locked(handle, patience_seconds):
                await asyncio.to_thread(_kill_holders, file)
                if not await _until_locked(handle, _KILLED_SECONDS):
                    raise Conflict("leftovers", f"Processes of an earlier start still use {file.parent}.")
        yield handle.fileno()


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _until_locked(handle: IO[str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _locked(handle):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def _kill_holders(file: Path) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(Path(opened.path) == file for opened in process.open_files()):
                process.kill()
