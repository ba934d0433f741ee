"""Progress as people read it."""

import io

import pytest
from rich.console import Console

from tidemill.cli import progress as bars
from tidemill.cli.progress import JobBar, count_text, note_text
from tidemill.schemas.jobs import JobEvent, JobProgress


@pytest.mark.parametrize(
    ("progress", "count", "note"),
    [
        (JobProgress(stage="trials", done=3, total=20, best=0.92512, metric="roc_auc"), "3/20", "best roc_auc 0.9251"),
        (JobProgress(stage="rows", done=1e6, message="second pass"), "1e+06", "second pass"),
        (JobProgress(stage="start"), "", ""),
    ],
)
def test_progress_is_told_as_count_and_note(progress: JobProgress, count: str, note: str) -> None:
    assert (count_text(progress), note_text(progress)) == (count, note)


def test_a_narrow_terminal_cuts_the_note_and_not_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(bars, "stderr", lambda: console)
    progress = JobProgress(
        stage="search", done=3, total=6, message="trial 3: lightgbm " * 5, best=0.92, metric="roc_auc"
    )
    with JobBar("Training adult-income") as bar:
        bar.show(JobEvent(progress=progress))
    line = next(line for line in reversed(screen.getvalue().splitlines()) if "search" in line)
    assert "\u2501" * 8 in line
    assert "3/6 0:00:0" in line
    assert "best roc_auc" in line
    assert "\u2026" in line
