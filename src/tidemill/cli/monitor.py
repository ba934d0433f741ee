"""`tidemill monitor ...`"""

from itertools import islice
from typing import Annotated

import typer

from tidemill.cli.context import client, make_table, show, stderr
from tidemill.cli.moments import parse_moment
from tidemill.cli.monitor_tables import report_parts
from tidemill.cli.progress import follow_to_result
from tidemill.kit.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="How good deployed models really are.")


@app.command()
def report(
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.")],
    since: Annotated[str, typer.Option(help="From when on: 7d ago, a day or a time.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Until when; now, when absent.")] = None,
    model_version: Annotated[int | None, typer.Option(help="Only predictions of this version.", min=1)] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the report and show it.")] = True,
) -> None:
    """Measure a deployment on the predictions whose truth is known, beside its holdout."""
    now = utc_now()
    first, last = parse_moment(since, now), parse_moment(until, now) if until else None
    with client() as tidemill:
        job = tidemill.monitoring.request_report(deployment, first, last, model_version)
        if not wait:
            stderr().print(f"Started {job.id}.")
            show(job, lambda: [job.id])
            return
        finished = follow_to_result(tidemill, job.id, f"Report on {deployment}")
        made = tidemill.monitoring.get_report(str((finished.result or {})["report_id"]))
    show(made, lambda: report_parts(made))


@app.command(name="show")
def show_report(report_id: Annotated[str, typer.Argument(help="Id of the report, rep_...")]) -> None:
    """Show a report that was made before."""
    with client() as tidemill:
        made = tidemill.monitoring.get_report(report_id)
    show(made, lambda: report_parts(made))


@app.command(name="list")
def list_reports(
    deployment: Annotated[str | None, typer.Argument(help="Only reports of this deployment.")] = None,
    limit: Annotated[int, typer.Option(help="Most reports to list.", min=1, max=10_000)] = 50,
) -> None:
    """List reports, newest first."""
    with client() as tidemill:
        found = list(islice(tidemill.monitoring.list_reports(deployment), limit))
    rows = [(made.id, made.deployment, made.model_version, made.since, made.until, made.created_at) for made in found]
    columns = ("id", "deployment", "version", "since", "until", "made")
    show(found, lambda: make_table(None, *columns, rows=rows))
