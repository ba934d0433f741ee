"""`tidemill job ...`"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table

from tidemill.cli.context import Output, client, make_table, show, state, stderr
from tidemill.cli.progress import count_text, follow_to_result, note_text
from tidemill.cli.terminal import visible
from tidemill.client import Tidemill
from tidemill.kit.durations import parse_duration_seconds
from tidemill.schemas.jobs import Job, JobLogLine

app = typer.Typer(no_args_is_help=True, help="Jobs: uploads, trainings and all other long work.")

JobId = Annotated[str, typer.Argument(help="Id of the job, job_...")]


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command(name="list")
def list_jobs(
    status: Annotated[Status | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only jobs about this, such as dataset/adult.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most jobs shown.")] = 50,
) -> None:
    """List jobs, newest first."""
    with client() as tidemill:
        jobs = list(islice(tidemill.jobs.list(status.value if status else None, kind, subject), limit))
    columns = ("id", "kind", "subject", "status", "progress", "attempt", "created")
    rows = [
        (job.id, job.kind, job.subject, job.status, _progress(job), job.attempt, f"{job.created_at:%Y-%m-%d %H:%M:%S}")
        for job in jobs
    ]
    show(jobs, lambda: make_table(None, *columns, rows=rows))


@app.command(name="show")
def show_job(job_id: JobId) -> None:
    """Show one job: state, progress, result or error."""
    with client() as tidemill:
        job = tidemill.jobs.get(job_id)
    show(job, lambda: _tables(job))


@app.command()
def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until the job has ended.")] = False,
) -> None:
    """Print what the job wrote, to stdout."""
    with client() as tidemill:
        for line in _followed(tidemill, job_id) if follow else tidemill.jobs.logs(job_id):
            if state.output is Output.JSON:
                typer.echo(visible(line.model_dump_json()))
            else:
                typer.echo(f"{line.written_at:%Y-%m-%d %H:%M:%S} {line.level:<7} {visible(line.message)}")


@app.command()
def cancel(job_id: JobId) -> None:
    """Cancel a queued job at once; ask a running one to end."""
    with client() as tidemill:
        job = tidemill.jobs.cancel(job_id)
    ending = "is cancelled" if job.status == "cancelled" else "is being ended"
    show(job, lambda: [f"{job.id} {ending}."])


@app.command()
def wait(
    job_id: JobId,
    timeout: Annotated[str | None, typer.Option(help="Give up after this time, such as 10m.")] = None,
) -> None:
    """Wait until the job has ended. Exits with 0 if it succeeded, else as its error says."""
    timeout_seconds = parse_duration_seconds(timeout) if timeout else None
    with client() as tidemill:
        job = follow_to_result(tidemill, job_id, tidemill.jobs.get(job_id).kind, timeout_seconds)
    stderr().print(f"{job.id} succeeded.")
    show(job, lambda: _tables(job))


def _followed(tidemill: Tidemill, job_id: str) -> Iterator[JobLogLine]:
    for event in tidemill.jobs.events(job_id):
        if event.line is not None:
            yield event.line


def _progress(job: Job) -> str | None:
    if job.progress is None:
        return None
    return " ".join(part for part in (job.progress.stage, count_text(job.progress)) if part)


def _tables(job: Job) -> Iterable[Table]:
    rows: list[tuple[str, object]] = [
        ("id", job.id),
        ("kind", job.kind),
        ("subject", job.subject),
        ("status", job.status),
        ("progress", _progress(job)),
        ("note", note_text(job.progress) if job.progress else None),
        ("attempt", job.attempt),
        ("created", job.created_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
        ("request id", job.request_id),
    ]
    if job.error is not None:
        rows.append(("error", f"{job.error.detail} ({job.error.code})"))
        rows.extend((f"  {problem.pointer}", problem.detail) for problem in job.error.problems[:20])
    # What is nested is for programs, with --output json.
    plain = {name: value for name, value in (job.result or {}).items() if not isinstance(value, (dict, list))}
    rows.extend((f"result {name}", value) for name, value in plain.items())
    return [make_table(None, "", "", rows=[row for row in rows if row[1] not in (None, "")])]
