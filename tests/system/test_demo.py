"""The first command of the README: the whole loop on real flights."""

import os
import subprocess
import sys
from pathlib import Path

_SECONDS = 1200
_BUDGET = "10s"
"""For the search; `make demo` takes 60 s."""


def demo(data_dir: Path, *options: str) -> str:
    """What the demo says; fails unless it ends with exit code 0."""
    command = [sys.executable, "-m", "tidemill.cli.main", "demo", "--data-dir", str(data_dir)]
    done = subprocess.run(
        [*command, "--time-budget", _BUDGET, *options],
        capture_output=True, text=True, timeout=_SECONDS, check=False, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_goes_through_the_loop_and_tells_what_it_found(tmp_path: Path) -> None:
    said = demo(tmp_path / "demo")
    flowing = " ".join(said.split())  # a slow machine tries few models, and a title breaks where its table is narrow
    for words in (
        "flights version 1: 160,678 flights",
        "flights-late version 1",
        "28,293 flights of July",
        "28,293 arrivals told back, 100.0% of the predictions",
        "Leaderboard (roc_auc on validation data, 95% intervals)",
        "naive_baseline",
        "Holdout against live (95% intervals)",
        "tidemill up --data-dir",
        "train show run_",
    ):
        assert words in flowing, said
