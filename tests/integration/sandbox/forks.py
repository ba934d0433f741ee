"""`python -m tests.integration.sandbox.forks N`: tries to start processes; prints what refused each, and how often a
library was asked to prepare for a fork."""

import ctypes
import multiprocessing
import os
import platform
import subprocess
from collections.abc import Callable

prepared: list[int] = []


def refusal(start: Callable[[], object]) -> str:
    try:
        start()
    except PermissionError:
        return "refused"
    return "started"


if __name__ == "__main__":
    prepare = ctypes.CFUNCTYPE(None)(lambda: prepared.append(1))
    ctypes.CDLL(None).__register_atfork(prepare, None, None, None)
    starts = [
        os.fork,
        os.forkpty,
        lambda: subprocess.run(["uname", "-p"], check=False),
        lambda: subprocess.run(["uname"], check=False, preexec_fn=os.getpid),
        *(multiprocessing.get_context(how).Process(target=print).start for how in ("fork", "spawn", "forkserver")),
    ]
    outcomes = [refusal(start) for start in starts]
    assert platform.processor() == ""
    print(*outcomes, len(prepared))  # noqa: T201
