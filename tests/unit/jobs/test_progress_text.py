"""Progress as people read it."""

import pytest

from tidemill.cli.progress import count_text, note_text
from tidemill.schemas.jobs import JobProgress


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
