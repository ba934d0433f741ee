"""Functions for computing children of the tests."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tidemill.kit.errors import Invalid
from tidemill.kit.reporter import Reporter


def double(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    sys.stdout.write("a stray print\n")
    reporter.progress("doubling", 1, 2, best=0.5, metric="roc_auc")
    reporter.log("info", "half way")
    reporter.event(step=1)
    reporter.progress("doubling", 2, 2)
    (reporter.scratch / "file").write_text("x")
    return {"value": request["value"] * 2, "threads": os.environ["OMP_NUM_THREADS"], "scratch": str(reporter.scratch)}


def refuse(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    raise Invalid("column_missing", "There is no such column.")


def crash(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    raise ValueError(request["file"])


def die(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    os.kill(os.getpid(), 9)
    return {}


def eat_memory(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)) * 16)
        time.sleep(0.01)


def tick(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Append a line to a file ten times a second: what an overtaken run must stop doing."""
    with contextlib.suppress(PermissionError):  # refused in the sandbox; elsewhere it must not outlive the child
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    with Path(request["file"]).open("a") as out:
        for number in range(int(request["ticks"])):
            reporter.check()
            out.write(f"{os.getpid()} {number} {time.time()}\n")
            out.flush()
            reporter.progress("ticking", number + 1, request["ticks"])
            time.sleep(0.1)
    return {"pid": os.getpid()}
