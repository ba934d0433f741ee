"""What happened, on one screen."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tidemill.demo.platform import Running

_METRICS_SHOWN = ("roc_auc", "average_precision", "brier", "log_loss")


@dataclass(frozen=True)
class Outcome:
    """The JSON that the commands gave."""

    version: Mapping[str, Any]
    run: Mapping[str, Any]
    model: Mapping[str, Any]
    deployment: Mapping[str, Any]
    feedback: Mapping[str, Any]
    report: Mapping[str, Any]


def print_summary(console: Console, outcome: Outcome, running: Running, data_dir: Path, began: float) -> None:
    """Print the summary. ``began`` is when the demo did, by the monotonic clock."""
    console.rule("Tidemill demo")
    for line in _story(outcome):
        console.print(line)
    console.print()
    console.print(_leaderboard(outcome.run))
    console.print()
    console.print(_holdout_and_live(outcome.report))
    console.print()
    for line in _next_steps(outcome, running, data_dir):
        console.print(line, soft_wrap=True)  # commands are there to be copied
    console.rule(f"done in {time.monotonic() - began:.0f} s")


def _story(outcome: Outcome) -> Iterator[str]:
    version, run, total = outcome.version, outcome.run, outcome.report["content"]["total"]
    yield (
        f"[bold]data[/]      {version['dataset']} version {version['number']}: {version['row_count']:,} flights "
        f"of January to June 2013, {version['column_count']} columns"
    )
    yield (
        f"[bold]model[/]     {run['name']} version {run['model_version']}: {run['candidate']}, "
        f"best of {run['trials']} trials"
    )
    yield f"[bold]served[/]    {total['predictions']:,} flights of July, each kept in the ledger with its prediction"
    yield (
        f"[bold]feedback[/]  {total['labelled']:,} arrivals told back, "
        f"{total['coverage_percent']:.1f}% of the predictions"
    )


def _interval(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "-"
    low, high = value.get("low"), value.get("high")
    return f"{value['value']:.4f}" if low is None or high is None else f"{value['value']:.4f} [{low:.4f}, {high:.4f}]"


def _leaderboard(run: Mapping[str, Any]) -> Table:
    report = run["report"]
    title = f"Leaderboard ({run['metric']} on validation data, 95% intervals)"
    table = _table(title, "model", "best trial", "seconds")
    for row in report["leaderboard"]:
        value = {"value": row["score"], "low": row["low"], "high": row["high"]}
        table.add_row(row["candidate"], _interval(value), f"{row['seconds']:.1f}")
    return table


def _holdout_and_live(report: Mapping[str, Any]) -> Table:
    table = _table("Holdout against live (95% intervals)", "metric", "holdout", "live", "difference", "verdict")
    for metric in report["content"]["total"]["metrics"]:
        if metric["name"] in _METRICS_SHOWN:
            cells = (_interval(metric[part]) for part in ("holdout", "live", "difference"))
            table.add_row(metric["name"], *cells, metric["verdict"].replace("_", " "))
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


def _next_steps(outcome: Outcome, running: Running, data_dir: Path) -> Iterator[str]:
    name = outcome.run["name"]
    if not running.stays:
        yield "The platform is stopped; its data stays. Start it again with"
        yield f"  tidemill up --data-dir {data_dir}"
    else:
        yield f"The platform is still running in {data_dir}. Where to click:"
        yield f"  experiments and models   {running.addresses['mlflow']} (any name; password: cat {data_dir}/admin.key)"
        yield f"  the api                  {running.addresses['api']}/docs"
        yield f"  the model server         {running.addresses['model_server']}/docs"
        yield f"Stop it with               kill $(cat {data_dir}/lock)"
    yield "What to type next:"
    option = f"--data-dir {data_dir}"
    yield f"  tidemill {option} train show {outcome.run['id']}"
    yield f"  tidemill {option} model history {name}"
    yield f"  tidemill {option} dataset show {outcome.version['dataset']}"
