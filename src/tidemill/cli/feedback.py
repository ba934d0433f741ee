"""`tidemill feedback ...`"""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from tidemill.cli.context import client, make_table, show, stderr, validated
from tidemill.cli.feedback_files import media_type_of, read_file, size_of
from tidemill.schemas.feedback import FeedbackCounts, FeedbackFileQuery

app = typer.Typer(no_args_is_help=True, help="What turned out to be true about predictions.")


@app.callback()
def group() -> None:
    """What turned out to be true about predictions."""


@app.command()
def push(
    deployment: Annotated[str, typer.Argument(help="Whose predictions these are; others are refused.")],
    file: Annotated[Path, typer.Argument(help="CSV, NDJSON (both may be packed by gzip or zstd) or Parquet.")],
    id_column: Annotated[str, typer.Option(help="Column with the predictions' ids.")] = "prediction_id",
    truth_column: Annotated[str, typer.Option(help="Column with the truth.")] = "truth",
    observed_at_column: Annotated[str | None, typer.Option(help="Column with when it became known.")] = None,
) -> None:
    """Attach the truths in a file to predictions. Pushing a file again counts nothing twice.

    Only where it holds two truths for one prediction do they replace each other again.
    """
    media_type, size = media_type_of(file), size_of(file)
    options = {"deployment": deployment, "id_column": id_column, "truth_column": truth_column}
    query = validated(FeedbackFileQuery, options | {"observed_at_column": observed_at_column})
    columns = [name for name in (id_column, truth_column, observed_at_column) if name is not None]
    with client() as tidemill, _bar() as bar:
        task = bar.add_task(f"Pushing {file.name}", total=size)
        content = read_file(file, columns, lambda done: bar.update(task, completed=done), _warn)
        counts = tidemill.feedback.upload(content, media_type, query)
    for warning in counts.warnings:
        _warn(warning)
    show(counts, lambda: _table(counts))


def _warn(warning: str) -> None:
    stderr().print(f"warning: {warning}", soft_wrap=True)


def _bar() -> Progress:
    parts = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*parts, console=stderr())


def _table(counts: FeedbackCounts) -> Table:
    rows = [
        (counts.received, "rows read"),
        (counts.accepted, "new truths stored"),
        (counts.revisions, "of these replace an earlier, different truth"),
        (counts.duplicates, "known already"),
        (counts.skipped, "without a truth, skipped"),
        (counts.unmatched, "about predictions that are not in the ledger yet"),
    ]
    return make_table(None, "rows", "", rows=rows)
