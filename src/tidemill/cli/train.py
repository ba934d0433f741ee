"""`tidemill train ...`"""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.context import client, show, stderr
from tidemill.cli.model_tables import decision_parts
from tidemill.cli.progress import follow, follow_to_result
from tidemill.cli.train_tables import leaderboard_table, run_parts, runs_table, started_text
from tidemill.client import Tidemill
from tidemill.kit.durations import parse_duration_seconds
from tidemill.schemas.experiments import Task, TrainingRunDetail
from tidemill.schemas.registry import GateDecision

app = typer.Typer(no_args_is_help=True, help="Train models and rank them.")


@app.command()
def submit(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    *,
    target: Annotated[str, typer.Option(help="Column to predict.")],
    name: Annotated[str | None, typer.Option(help="Experiment and model; <dataset>-<target> when absent.")] = None,
    version: Annotated[int | None, typer.Option(help="Dataset version; the newest when absent.", min=1)] = None,
    task: Annotated[str | None, typer.Option(help="binary, multiclass or regression; inferred when absent.")] = None,
    metric: Annotated[str | None, typer.Option(help="What to optimise, such as roc_auc.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Split by time: the newest rows are held out.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Split by group: its rows stay together.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    holdout_share: Annotated[
        float, typer.Option(help="Share of the rows that is kept untouched until the end.", min=0.05, max=0.5)
    ] = 0.2,
    trials: Annotated[int | None, typer.Option(help="Exact number of trials.", min=1)] = None,
    time_budget: Annotated[str | None, typer.Option(help="Such as 2m, the default without --trials.")] = None,
    seed: Annotated[int, typer.Option(help="Of split, search and models.", min=0)] = 0,
    timeout: Annotated[str | None, typer.Option(help="End the job after this time, such as 1h.")] = None,
    priority: Annotated[int, typer.Option(help="Higher runs first.")] = 0,
    wait: Annotated[bool, typer.Option(help="Follow the run and show what it found.")] = True,
) -> None:
    """Search, train and register a model for a column of a dataset."""
    with client() as tidemill:
        started = tidemill.experiments.start(
            dataset, target, name=name, dataset_version=version, task=_task(task), metric=metric,
            time_column=time_column, group_column=group_column, exclude=exclude or [], holdout_share=holdout_share,
            trials=trials, time_budget_seconds=parse_duration_seconds(time_budget) if time_budget else None, seed=seed,
            timeout_seconds=parse_duration_seconds(timeout) if timeout else None, priority=priority,
        )  # fmt: skip
        if not wait:
            stderr().print(f"Started {started.job_id}.")
            show(started, lambda: [started_text(started)])
            return
        follow_to_result(tidemill, started.job_id, f"Training {started.name}")
        run = tidemill.experiments.get(started.run_id)
        decision = _gate_decision(tidemill, run)
    show(run, lambda: [*run_parts(run), *(decision_parts(decision) if decision else ())])


def _gate_decision(tidemill: Tidemill, run: TrainingRunDetail) -> GateDecision | None:
    """What the gate says of the new version; its job was enqueued when the version was registered."""
    if job := tidemill.experiments.gate_job(run):
        follow(tidemill, job.id, f"Gate of {run.name}")
    return next(tidemill.models.decisions(run.name, run.model_version), None)


@app.command(name="show")
def show_run(
    run_id: Annotated[str, typer.Argument(help="Id of the run, run_...")],
    figures: Annotated[Path | None, typer.Option(help="Also write the figures into this folder.")] = None,
) -> None:
    """Show what a run found."""
    with client() as tidemill:
        run = tidemill.experiments.get(run_id)
        if figures is not None:
            written = tidemill.experiments.download_figures(run, figures)
            stderr().print(f"Wrote {len(written)} figures to {figures}.")
    show(run, lambda: run_parts(run))


@app.command(name="list")
def list_runs(
    name: Annotated[str | None, typer.Argument(help="Only runs of this experiment.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only runs on this dataset.")] = None,
    limit: Annotated[int, typer.Option(help="Most runs to list.", min=1, max=10_000)] = 50,
) -> None:
    """List runs, newest first."""
    with client() as tidemill:
        runs = list(islice(tidemill.experiments.list(name, dataset), limit))
    show(runs, lambda: runs_table(runs))


@app.command()
def leaderboard(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    sort: Annotated[str | None, typer.Option(help="Metric to sort by.")] = None,
    limit: Annotated[int, typer.Option(help="Most runs to show.", min=1, max=500)] = 20,
) -> None:
    """Rank the finished runs of an experiment by any metric on their holdouts."""
    with client() as tidemill:
        board = tidemill.experiments.leaderboard(name, sort, page_size=limit)
    show(board, lambda: [leaderboard_table(board)])


def _task(text: str | None) -> Task | None:
    match text:
        case None | "binary" | "multiclass" | "regression":
            return text
    raise typer.BadParameter("one of binary, multiclass, regression", param_hint="--task")
