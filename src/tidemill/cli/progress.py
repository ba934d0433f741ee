"""A job as a progress bar on stderr."""

from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from tidemill.cli.context import stderr
from tidemill.client import Tidemill
from tidemill.client.jobs import result_of
from tidemill.kit.errors import TidemillError
from tidemill.schemas.jobs import Job, JobEvent, JobLogLine, JobProgress

_BAR_CHARACTERS = 16


class _NoteColumn(TextColumn):
    """Gives way where the terminal is narrow, so that the bar and the time stay readable."""

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class JobBar:
    """Give it events with `show`. Where stderr is no terminal, each new stage is one line instead.

    error_is_told: the job's error is shown elsewhere once it has failed, and not here.
    """

    def __init__(self, title: str, *, error_is_told: bool = False) -> None:
        self._title = title
        self._stage = ""
        self._error_is_told = error_is_told
        self._held: JobLogLine | None = None
        self._console = stderr()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[title]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR_CHARACTERS, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _NoteColumn("{task.fields[note]}", style="dim", markup=False, table_column=Column(no_wrap=False)),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        self._bar = self._bars.add_task("queued", total=None, title=self._title, count="", note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._say_held()
        self._bars.stop()

    def show(self, event: JobEvent) -> None:
        if event.progress is not None:
            self._advance(event.progress)
            return
        if self._error_is_told and event.state is not None and self._is_error_of(event.state):
            self._held = None
        self._say_held()
        if event.state is not None:
            self._change(event.state)
        elif event.line is not None and event.line.level in {"warning", "error"}:
            self._held = event.line
            if event.line.level == "warning":
                self._say_held()  # an error may be the job's own, which is known when its state comes

    def _is_error_of(self, job: Job) -> bool:
        held, error = self._held, job.error if job.status == "failed" else None
        return held is not None and error is not None and f"{error.detail} ({error.code})".startswith(held.message)

    def _say_held(self) -> None:
        if self._held is not None:
            self._console.print(f"{self._held.level}: {self._held.message}", soft_wrap=True)
            self._held = None

    def _advance(self, progress: JobProgress) -> None:
        self._announce(progress.stage)
        if self._bar is not None:
            self._bars.update(
                self._bar,
                description=progress.stage,
                completed=progress.done,
                total=progress.total,
                count=count_text(progress),
                note=note_text(progress),
            )

    def _change(self, job: Job) -> None:
        stage = job.status if job.attempt <= 1 else f"{job.status}, attempt {job.attempt}"
        if job.cancel_requested_at is not None and job.status == "running":
            stage = "ending"
        self._announce(stage)
        if self._bar is not None and (job.status != "running" or stage == "ending"):
            self._bars.update(self._bar, description=stage)

    def _announce(self, stage: str) -> None:
        if not self._console.is_terminal and stage != self._stage:
            self._console.print(f"{self._title}: {stage}", soft_wrap=True)
        self._stage = stage


def count_text(progress: JobProgress) -> str:
    if progress.total is None:
        return f"{progress.done:g}" if progress.done else ""
    return f"{progress.done:g}/{progress.total:g}"


def note_text(progress: JobProgress) -> str:
    best = f"best {progress.metric or 'so far'} {progress.best:.4f}" if progress.best is not None else ""
    return ", ".join(part for part in (best, progress.message) if part)


def follow(tidemill: Tidemill, job_id: str, title: str, timeout_seconds: float | None = None) -> Job:
    """Show the job until it has ended; gives it back however it ended. Interrupting leaves the job running."""
    return _follow(tidemill, job_id, JobBar(title), timeout_seconds)


def follow_to_result(tidemill: Tidemill, job_id: str, title: str, timeout_seconds: float | None = None) -> Job:
    """As `follow`, but raises the job's own error if it did not succeed."""
    job = _follow(tidemill, job_id, JobBar(title, error_is_told=True), timeout_seconds)
    try:
        result_of(job)
    except TidemillError as error:
        error.add_note(f"tidemill job logs {job_id}")
        raise
    return job


def _follow(tidemill: Tidemill, job_id: str, bar: JobBar, timeout_seconds: float | None) -> Job:
    try:
        with bar:
            return tidemill.jobs.wait(job_id, timeout_seconds, bar.show)
    except KeyboardInterrupt:
        stderr().print(f"The job goes on. To end it: tidemill job cancel {job_id}")
        raise
