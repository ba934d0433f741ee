"""Progress as people read it."""

import io

import pytest
from rich.console import Console

from tidemill.cli import progress as bars
from tidemill.cli.progress import JobBar, count_text, note_text
from tidemill.kit.clock import utc_now
from tidemill.schemas.jobs import Job, JobError, JobEvent, JobLogLine, JobProgress, JobState


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


@pytest.mark.parametrize(
    ("status", "error_is_told", "said"),
    [("failed", True, False), ("failed", False, True), ("queued", True, True)],
)
def test_the_error_that_a_command_ends_with_is_said_once(
    monkeypatch: pytest.MonkeyPatch, status: JobState, error_is_told: bool, said: bool
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(bars, "stderr", lambda: Console(file=screen, width=80))
    error = JobError(kind="Invalid", code="file_empty", detail="The file is empty.")
    line = JobLogLine(seq=1, attempt=1, level="error", message="The file is empty. (file_empty)", written_at=utc_now())
    state = Job.model_construct(status=status, attempt=1, cancel_requested_at=None, error=error)
    with JobBar("Reading", error_is_told=error_is_told) as bar:
        bar.show(JobEvent(line=line))
        bar.show(JobEvent(progress=JobProgress(stage="preparing")))
        bar.show(JobEvent(state=state))
    assert ("error: The file is empty. (file_empty)" in screen.getvalue()) is said


def test_what_was_said_last_is_not_lost_when_following_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(bars, "stderr", lambda: Console(file=screen, width=80))
    line = JobLogLine(seq=1, attempt=1, level="warning", message="2 rows are twice", written_at=utc_now())
    with JobBar("Reading", error_is_told=True) as bar:
        bar.show(JobEvent(line=line))
    assert "warning: 2 rows are twice" in screen.getvalue()
