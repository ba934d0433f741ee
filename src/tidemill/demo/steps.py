"""The loop as a user types it: each step is a real command, shown before it runs."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tidemill.kit.errors import TidemillError

_LONGEST_STEP_SECONDS = 1800


@dataclass(frozen=True)
class Shell:
    """Runs ``tidemill`` commands against the platform in ``data_dir``; progress bars stay visible on stderr."""

    data_dir: Path
    folder: Path
    console: Console

    def run(self, *arguments: str, accepted: tuple[int, ...] = (0,)) -> Any:
        """The command's JSON. Raises TidemillError when it ends with an exit code that is not ``accepted``."""
        self.console.print(f"\n[bold cyan]$ tidemill {shlex.join(arguments)}[/]")
        command = [sys.executable, "-m", "tidemill.cli.main", "--output", "json", "--data-dir", str(self.data_dir)]
        done = subprocess.run(
            [*command, *arguments],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=_environment(os.environ),
            timeout=_LONGEST_STEP_SECONDS,
        )
        if done.returncode not in accepted:
            raise TidemillError("demo_step_failed", f"tidemill {arguments[0]} ended with {done.returncode}.")
        return json.loads(done.stdout) if done.stdout.strip() else None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without addresses and keys of another platform, so that the demo never touches one."""
    foreign = {"TIDEMILL_URL", "TIDEMILL_API_KEY", "TIDEMILL_MODEL_SERVER_URL"}
    return {name: value for name, value in environ.items() if name not in foreign}
