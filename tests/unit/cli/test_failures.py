"""A failure is told with its reason, once, wherever one looks for it."""

import pytest

from tidemill.cli.context import report
from tidemill.cli.train_tables import run_parts
from tidemill.kit.errors import Invalid, Problem
from tidemill.schemas.experiments import TrainingRunDetail
from tidemill.schemas.jobs import JobError, JobErrorPlace, JobProgress, JobState

SENTENCE = "The target column a has 387 distinct values."
TOLD = f"{SENTENCE} (target_too_many_classes)"
LOGS = "  tidemill job logs job_1"


@pytest.mark.parametrize(
    ("status", "error", "progress", "said"),
    [
        ("failed", True, True, [f"failed: {TOLD}", "  column a", LOGS]),
        ("queued", True, False, [f"waits: {TOLD}", "  column a", LOGS]),
        ("failed", False, False, ["Its job has been cleared away, and with it why it failed."]),
        ("running", False, True, ["search 3/20 best roc_auc 0.9000"]),
        ("queued", False, False, []),
    ],
)  # fmt: skip
def test_a_run_without_a_report_says_why(status: JobState, error: bool, progress: bool, said: list[str]) -> None:
    place = JobErrorPlace(pointer="column a", code="target_too_many_classes", detail=SENTENCE)
    run = TrainingRunDetail.model_construct(
        id="run_1",
        job_id="job_1",
        name="adult-a",
        dataset="adult",
        dataset_version=1,
        status=status,
        report=None,
        error=JobError(kind="Invalid", code=place.code, detail=SENTENCE, problems=[place]) if error else None,
        progress=JobProgress(stage="search", done=3, total=20, best=0.9, metric="roc_auc") if progress else None,
    )
    assert list(run_parts(run))[1:] == said


def test_what_is_wrong_is_said_once_with_its_places(capsys: pytest.CaptureFixture[str]) -> None:
    places = [
        Problem("column a", "x", SENTENCE),
        Problem("column b", "x", "Another."),
        Problem("column a", "x", SENTENCE),
    ]
    report(Invalid("x", SENTENCE, places))
    assert capsys.readouterr().err.splitlines()[1:] == ["  column a", "  column b: Another."]
