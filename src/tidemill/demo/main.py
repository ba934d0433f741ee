"""`tidemill demo`: train on the first half of 2013, serve July, tell the truth, measure."""

import csv
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from tidemill.cli.context import report
from tidemill.demo.flights import TARGET, TIME_COLUMN, load_flights, split_by_month
from tidemill.demo.platform import running_platform
from tidemill.demo.steps import Shell
from tidemill.demo.summary import Outcome, print_summary
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import TidemillError
from tidemill.kit.exit_codes import exit_code_of
from tidemill.kit.own_files import close_to_others, own_folder

DATASET = "flights"
MODEL = f"{DATASET}-{TARGET}"
DEPLOYMENT = MODEL
_LAST_TRAINING_MONTH = 6
_SERVED_MONTH = 7
_MINUTES = "%Y-%m-%d %H:%M"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo's platform.")] = Path("tidemill-demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running afterwards.")] = False,
    time_budget: Annotated[str, typer.Option(help="How long to search for a model.")] = "60s",
) -> None:
    """Run the whole loop on real flights: will a flight arrive more than 15 minutes late, told before it leaves?"""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    close_to_others()
    data_dir = own_folder(data_dir)
    folder = own_folder(data_dir / "files")
    with _step(console, "preparing the flights of 2013"):
        _prepare(folder)
    with running_platform(data_dir, console, keep) as running:
        shell = Shell(data_dir, folder, console)
        outcome = _run_loop(shell, time_budget)
    print_summary(Console(highlight=False, width=_summary_width()), outcome, running, data_dir, began)


def _run_loop(shell: Shell, time_budget: str) -> Outcome:
    began = utc_now().isoformat(timespec="seconds").replace("+00:00", "Z")
    version = shell.run("dataset", "push", "first-half.csv", "--name", DATASET)
    run = shell.run(
        "train", "submit", DATASET, "--target", TARGET, "--time-column", TIME_COLUMN, "--time-budget", time_budget
    )
    model = shell.run("model", "show", MODEL)
    deployment = shell.run("deploy", "apply", DEPLOYMENT, "--model", f"{MODEL}@champion", "--wait")
    shell.run("predict", DEPLOYMENT, "july.csv", "--save", "predictions.csv")
    with _step(shell.console, "looking up how the flights really arrived"):
        _tell_truth(shell.folder)
    feedback = shell.run(
        "feedback", "push", DEPLOYMENT, "truth.csv", "--id-column", "prediction_id", "--truth-column", TARGET
    )
    # The same flights, served by an earlier demo on the same data, would only seem to be more evidence.
    report = shell.run("monitor", "report", DEPLOYMENT, "--since", began)
    return Outcome(version, run, model, deployment, feedback, report)


def _summary_width() -> int | None:
    """Of the terminal; wide enough for whole table rows where there is none."""
    return None if sys.stdout.isatty() else 120


def _prepare(folder: Path) -> None:
    """Write the training file, and July without and with its truth."""
    training, served = split_by_month(load_flights(), _LAST_TRAINING_MONTH, _SERVED_MONTH)
    training.write_csv(folder / "first-half.csv", datetime_format=_MINUTES)
    served.drop(TARGET).write_csv(folder / "july.csv", datetime_format=_MINUTES)
    served.select(TARGET).write_csv(folder / "july-arrivals.csv")


def _tell_truth(folder: Path) -> None:
    """Join the ids that the predictions got with what happened: row by row, as an airline's own records would."""
    with (folder / "predictions.csv").open(newline="") as file:
        identifiers = [row["prediction_id"] for row in csv.DictReader(file)]
    arrivals = pl.read_csv(folder / "july-arrivals.csv")
    if len(identifiers) != arrivals.height:
        raise TidemillError("demo_rows_differ", "There are not as many predictions as flights.")
    arrivals.insert_column(0, pl.Series("prediction_id", identifiers)).write_csv(folder / "truth.csv")


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(title):
        yield
    console.print(f"  {title} [dim]({time.monotonic() - began:.1f} s)[/]")


def main() -> None:
    try:
        app(prog_name="tidemill demo")
    except TidemillError as error:
        report(error)
        sys.exit(exit_code_of(error))
