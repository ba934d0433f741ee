"""Training runs and leaderboards as tables."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from tidemill.cli.context import interval_text, make_table
from tidemill.cli.progress import count_text, note_text
from tidemill.schemas.experiments import Leaderboard, MetricValue, TrainingRun, TrainingRunDetail, TrainingStarted

_MAX_WARNINGS = 20
_MAX_PLACES = 100


def started_text(started: TrainingStarted) -> str:
    return started.run_id


def run_parts(run: TrainingRunDetail) -> Iterator[Table | str]:
    """What a run found: candidates, metrics, warnings; or where it stands."""
    yield f"{run.id}  {run.name}  {run.status}  on {run.dataset} version {run.dataset_version}"
    if run.report is None:
        yield from _standing(run)
        return
    report = run.report
    split = report["split"]
    counts = f"{split['development_rows']} rows to learn from, {split['holdout_rows']} held out"
    yield f"{report['task']}, {split['scheme']} split: {counts}; {run.trials} trials"
    yield _candidates(report)
    yield _metrics(run, report)
    if report["warnings"]:
        rows = [(item["severity"], item["detail"]) for item in report["warnings"][:_MAX_WARNINGS]]
        yield make_table("Notes", "", "", rows=rows)
    if run.model_version is not None:
        yield f"Registered as {run.name}:{run.model_version}"


def _standing(run: TrainingRunDetail) -> Iterator[str]:
    """Why there is no report."""
    if run.error is not None:
        yield f"{'failed' if run.status == 'failed' else 'waits'}: {run.error.detail} ({run.error.code})"
        places = (one.pointer if one.detail == run.error.detail else f"{one.pointer}: {one.detail}" for one in
                  run.error.problems[:_MAX_PLACES])  # fmt: skip
        yield from (f"  {place}" for place in places)
        yield f"  tidemill job logs {run.job_id}"
    elif run.status == "failed":
        yield "Its job has been cleared away, and with it why it failed."
    elif run.progress is not None:
        note = note_text(run.progress)
        yield " ".join(filter(None, (run.progress.stage, count_text(run.progress), note)))


def runs_table(runs: Iterable[TrainingRun]) -> Table:
    rows = [
        (
            run.id, run.name, run.status, f"{run.dataset}:{run.dataset_version}", run.candidate, run.metric,
            _interval(run.metrics.get(run.metric or "")), run.model_version, run.created_at,
        )
        for run in runs
    ]  # fmt: skip
    columns = ("id", "experiment", "status", "dataset", "model", "metric", "holdout (95%)", "version", "created")
    return make_table(None, *columns, rows=rows)


def leaderboard_table(board: Leaderboard) -> Table:
    rows = [
        (
            row.rank, row.run_id, row.candidate, f"{row.dataset}:{row.dataset_version}", row.model_version,
            _interval(row.metrics.get(board.sort)), row.finished_at,
        )
        for row in board.items
    ]  # fmt: skip
    columns = ("#", "run", "model", "dataset", "version", f"{board.sort} (95%)", "finished")
    return make_table(f"Leaderboard of {board.name}", *columns, rows=rows)


def _candidates(report: dict[str, Any]) -> Table:
    rows = [
        (
            number, entry["candidate"], interval_text(entry["score"], entry.get("low"), entry.get("high")),
            entry["iterations"] or None, entry["seconds"],
        )
        for number, entry in enumerate(report["leaderboard"], start=1)
    ]  # fmt: skip
    columns = ("#", "model", f"validation {report['metric']} (95%)", "rounds", "seconds")
    return make_table("Candidates, the best trial of each", *columns, rows=rows)


def _metrics(run: TrainingRunDetail, report: dict[str, Any]) -> Table:
    naive = {name: MetricValue.model_validate(one) for name, one in report["baseline_metrics"].items()}
    ordered = sorted(run.metrics.items(), key=lambda item: (item[0] != run.metric, item[0]))
    rows = [(name, _interval(found), _interval(naive.get(name))) for name, found in ordered]
    return make_table("On the untouched holdout", "metric", f"{run.candidate} (95%)", "naive baseline (95%)", rows=rows)


def _interval(found: MetricValue | None) -> str | None:
    return None if found is None else interval_text(found.value, found.low, found.high)
