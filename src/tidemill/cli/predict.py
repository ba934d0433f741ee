"""`tidemill predict`"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tidemill.cli.context import client, make_table, show, stderr
from tidemill.cli.prediction_results import ResultFile, Row, flat
from tidemill.cli.prediction_rows import RowBatch, RowFile, checked_rows
from tidemill.client import Tidemill
from tidemill.kit.errors import DeadlineExceeded, Invalid, TidemillError, Unavailable
from tidemill.kit.signatures import columns_of
from tidemill.reading.json_lines import RepeatedMember, unrepeated
from tidemill.schemas.predictions import PredictReply

app = typer.Typer()
_SHOWN_ROWS = 20
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.5


@app.command()
def predict(
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.")],
    file: Annotated[Path | None, typer.Argument(help="CSV, NDJSON or Parquet with the model's columns.")] = None,
    rows_json: Annotated[str | None, typer.Option("--json", help="A row, or a list of rows, as JSON.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the predictions to this .csv, .ndjson or .jsonl.")] = None,
    batch_rows: Annotated[int, typer.Option(min=1, max=100_000, help="Rows per request.")] = 2000,
) -> None:
    """Predict rows with the model that a deployment serves now. Every prediction gets an id, for feedback."""
    if (file is None) == (rows_json is None):
        raise typer.BadParameter("name a FILE or give --json")
    with client() as tidemill:
        if file is not None:
            batches = _batches(tidemill, deployment, file, batch_rows)
        else:
            batches = iter([rows_of_json(rows_json or "")])
        if save is None:
            _print([row for found in _predicted(tidemill, deployment, batches) for row in found])
        else:
            _save(save, _predicted(tidemill, deployment, batches))


def _batches(tidemill: Tidemill, deployment: str, file: Path, size: int) -> Iterator[RowBatch]:
    version = tidemill.deployments.get(deployment).version
    if version is None:
        raise Unavailable("deployment_unresolved", "The deployment's reference means no model version now.")
    return RowFile(file, columns_of(version.signature), _warn).batches(size)


def _warn(warning: str) -> None:
    _tell(f"warning: {warning}")


def rows_of_json(text: str) -> RowBatch:
    """The rows of ``--json``. Raises Invalid for what is no JSON, or no rows."""
    try:
        rows = json.loads(text, object_pairs_hook=unrepeated)
    except RepeatedMember:
        raise Invalid("member_repeated", "--json has two members of the same name in an object.") from None
    except (ValueError, RecursionError):
        raise Invalid("rows_not_json", "--json is not JSON.") from None
    rows = rows if isinstance(rows, list) else [rows]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Invalid("rows_invalid", "--json is an object, or a list of objects: column to value.")
    return checked_rows(rows)


def _predicted(tidemill: Tidemill, deployment: str, batches: Iterator[RowBatch]) -> Iterator[list[Row]]:
    with _bar() as bar:
        task = bar.add_task(f"Predicting with {deployment}", total=None)
        for batch in batches:
            try:
                reply = _patiently(tidemill, deployment, batch)
            except TidemillError as error:
                batch.tell_places(error)
                raise
            bar.update(task, advance=len(batch.rows))
            yield flat(reply, batch.rows)


def _patiently(tidemill: Tidemill, deployment: str, batch: RowBatch) -> PredictReply:
    """Asks again while the model server is away or busy: what was not answered counts for nothing."""
    for attempt in range(_ATTEMPTS):
        try:
            return tidemill.predict(deployment, batch.rows)
        except DeadlineExceeded:
            raise
        except Unavailable:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


def _save(path: Path, batches: Iterator[list[Row]]) -> None:
    count = 0
    with ResultFile(path, _tell) as out:
        for rows in batches:
            out.write(rows)
            count += len(rows)
        if not count:
            raise Invalid("file_empty", "The file holds no rows.")
    summary = {"rows": count, "saved": str(path)}
    show(summary, lambda: [f"{count} predictions are in {path}."])


def _tell(sentence: str) -> None:
    stderr().print(sentence, soft_wrap=True)


def _print(rows: list[Row]) -> None:
    if not rows:
        raise Invalid("file_empty", "The file holds no rows.")
    show(rows, lambda: [_table(rows), *_more(rows)])


def _table(rows: list[Row]) -> Table:
    columns = list(rows[0])
    return make_table(None, *columns, rows=[[row.get(name) for name in columns] for row in rows[:_SHOWN_ROWS]])


def _more(rows: list[Row]) -> list[str]:
    rest = len(rows) - _SHOWN_ROWS
    return [f"and {rest} more; --save FILE keeps all"] if rest > 0 else []


def _bar() -> Progress:
    parts = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*parts, console=stderr(), transient=True)
