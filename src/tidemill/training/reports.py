"""The report of a training run, as JSON and as MLflow wants it."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from tidemill import __version__
from tidemill.evaluation.resampling import enough_groups
from tidemill.kit.metrics import higher_is_better
from tidemill.training.assessment import RESAMPLES
from tidemill.training.order import DatasetReference, TrainingOrder
from tidemill.training.preparation import Prepared
from tidemill.training.search import Searched, TrialRecord, best_of, best_per_candidate

_MAX_TRIALS_LISTED = 1000
_LIBRARIES = ("lightgbm", "numpy", "optuna", "pandas", "scikit-learn")

Report = dict[str, Any]


@dataclass(frozen=True)
class RunHead:
    """What is known of a run once its search is over."""

    job_id: str
    model_name: str
    dataset: DatasetReference
    tags: Mapping[str, str]
    trials: Sequence[TrialRecord]
    metric: str


@dataclass(frozen=True)
class RunRecord:
    """What MLflow keeps of a training run. ``metrics`` hold intervals as ``name.low`` and ``name.high``."""

    head: RunHead
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    row_count: int


def make_report(order: TrainingOrder, prepared: Prepared, searched: Searched, measured: Report) -> Report:
    """Everything that is known of the run; ``measured`` are the parts that come from the holdout."""
    done = searched.trials
    winner = best_of(done, prepared.setting.metric)
    return {
        "model_name": order.model_name,
        "dataset": order.dataset.model_dump(),
        "options": order.options.model_dump(mode="json"),
        "task": prepared.target.task,
        "target": prepared.target.name,
        "classes": list(prepared.target.classes) or None,
        "metric": prepared.setting.metric,
        "higher_is_better": higher_is_better(prepared.setting.metric),
        "candidate": winner.candidate,
        "parameters": winner.params,
        "iterations": winner.iterations or None,
        "features": [asdict(column) for column in prepared.features.columns],
        "split": _split(prepared),
        "leaderboard": _leaderboard(searched, prepared.setting.metric),
        "trials": [asdict(record) for record in done[:_MAX_TRIALS_LISTED]],
        "warnings": [finding.as_dict() for finding in prepared.findings],
        "intervals": {
            "method": "percentile bootstrap",
            "resamples": RESAMPLES,
            "confidence": 0.95,
            "unit": "row" if _resampled(prepared) is None else "group",
        },
        "versions": {"python": platform.python_version(), "tidemill": __version__}
        | {name: version(name) for name in _LIBRARIES},
        **measured,
    }


def _leaderboard(searched: Searched, metric: str) -> list[Report]:
    """The best trial of each candidate and the naive baseline on the validation rows, best first."""
    naive: Report = {"candidate": "naive_baseline", "number": None, "params": {}, "iterations": 0, "seconds": 0.0}
    rows = [asdict(record) for record in best_per_candidate(searched.trials, metric)] + [naive | asdict(searched.naive)]
    sign = -1 if higher_is_better(metric) else 1
    return sorted(rows, key=lambda row: sign * float(row["score"]))


def run_record(order: TrainingOrder, report: Report, done: list[TrialRecord]) -> RunRecord:
    """The same for MLflow."""
    options = {name: value for name, value in report["options"].items() if value not in (None, [])}
    metrics: dict[str, float] = {}
    for prefix, found in (("", report["metrics"]), ("baseline_", report["baseline_metrics"])):
        for name, one in found.items():
            metrics |= {f"{prefix}{name}": one["value"]} | {
                f"{prefix}{name}.{end}": one[end] for end in ("low", "high")
            }
    return RunRecord(
        head=run_head(order, done, report["metric"]),
        params={
            **options,
            "candidate": report["candidate"],
            "iterations": report["iterations"],
            **report["parameters"],
        },
        metrics=metrics,
        row_count=report["split"]["development_rows"] + report["split"]["holdout_rows"],
    )


def run_head(order: TrainingOrder, done: list[TrialRecord], metric: str) -> RunHead:
    """What MLflow can be told before the winner is measured."""
    tags = {
        "tidemill.dataset": order.dataset.name,
        "tidemill.dataset_version": str(order.dataset.number),
        "tidemill.dataset_sha256": order.dataset.sha256,
        "tidemill.seed": str(order.options.seed),
        "tidemill.version": __version__,
    }
    if order.mlflow is not None and order.mlflow.git_commit is not None:
        tags["mlflow.source.git.commit"] = order.mlflow.git_commit
    return RunHead(order.job_id, order.model_name, order.dataset, tags, done, metric)


def without_nan(value: Any) -> Any:
    """The same with None for numbers that JSON cannot write, such as an importance that is undefined."""
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _resampled(prepared: Prepared) -> Any:
    return None if prepared.groups is None else enough_groups(prepared.groups[prepared.split.holdout])


def _split(prepared: Prepared) -> Report:
    train, validation = prepared.split.folds[0]
    folds = len(prepared.split.folds)
    return {
        "scheme": prepared.split.scheme,
        "holdout_rows": len(prepared.split.holdout),
        "development_rows": len(prepared.split.development),
        "train_rows": len(train) if folds == 1 else None,
        "validation_rows": len(validation) if folds == 1 else None,
        "folds": folds,
    }
