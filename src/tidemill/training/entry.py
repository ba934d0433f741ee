"""`train`: what a training job computes in a worker's child."""

import contextlib
import importlib
import json
import time
from types import ModuleType
from typing import Any

import numpy as np

from tidemill.kit.errors import Unavailable
from tidemill.kit.reporter import Reporter
from tidemill.schemas.experiments import DEFAULT_TIME_BUDGET_SECONDS, TrainingOptions
from tidemill.training.assessment import figure_data, holdout_metrics, permutation_importance
from tidemill.training.background import Background
from tidemill.training.candidates import FAMILIES
from tidemill.training.figures import draw_figures
from tidemill.training.fitting import scores_of
from tidemill.training.folds import encoded_folds
from tidemill.training.frames import Column, Kind
from tidemill.training.holdouts import Holdout, write_holdout
from tidemill.training.library_errors import library_errors
from tidemill.training.order import TrainingOrder
from tidemill.training.pipelines import fit_baseline, refit
from tidemill.training.preparation import Prepared, prepare
from tidemill.training.reports import make_report, run_head, run_record, without_nan
from tidemill.training.search import (
    Search,
    Searched,
    SearchLimits,
    TrialRecord,
    best_of,
    open_study,
    score_baseline,
)
from tidemill.training.studies import open_storage

_EXAMPLE_ROWS = 5
_LOOKED_UP_BY_SKLEARN = ("pandas", "polars", "pyarrow")
"""scikit-learn looks for these in ``sys.modules`` while it computes, so none may be half imported by another thread."""
_KIND_OF_LABELS: dict[str, Kind] = {"b": "boolean", "i": "integer", "f": "float", "O": "string"}
_SEARCH_SHARE = 0.85
"""Of the time budget; the rest is for fitting the winner again and assessing it."""


def train(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Search, refit, assess and log one training run; ``request`` is a `TrainingOrder` as JSON.

    Writes into ``output``: ``model/``, ``holdout.parquet``, ``report.json`` and ``figures/``. Returns what the
    registry needs: task, classes, signature, metrics, warnings, MLflow's ids. Raises Invalid for data that cannot be
    learned from and Unavailable when MLflow or the database is away.
    """
    started = time.monotonic()
    order = TrainingOrder.model_validate(request)
    reporter.progress("preparing", message="reading and checking the dataset")
    with library_errors("checking the dataset", reporter):
        prepared = prepare(order.parts, order.options, reporter.cpu_threads)
    for finding in prepared.findings:
        reporter.log("warning" if finding.severity == "error" else finding.severity, finding.detail)
    with library_errors("searching", reporter):
        searched = _search(order, prepared, reporter, started)
    return _finish(order, prepared, searched, reporter)


def _search(order: TrainingOrder, prepared: Prepared, reporter: Reporter, started: float) -> Searched:
    storage = open_storage(order.study_url.get_secret_value() if order.study_url else None)
    study = open_study(order.job_id, storage, prepared.setting)
    folds = encoded_folds(prepared.frame, prepared.target, prepared.features, prepared.split, prepared.groups)
    limits = _limits(order.options, time.monotonic() - started)
    done = Search(study, prepared.setting, folds, reporter).run(limits)
    return Searched(done, score_baseline(folds(FAMILIES[done[0].candidate].encoding), prepared.setting))


def _limits(options: TrainingOptions, used_seconds: float) -> SearchLimits:
    seconds = options.time_budget_seconds
    if seconds is None and options.trials is None:
        seconds = DEFAULT_TIME_BUDGET_SECONDS
    return SearchLimits(options.trials, None if seconds is None else max(1.0, seconds * _SEARCH_SHARE - used_seconds))


def _finish(order: TrainingOrder, prepared: Prepared, searched: Searched, reporter: Reporter) -> dict[str, Any]:
    reporter.check()
    done = searched.trials
    for name in _LOOKED_UP_BY_SKLEARN:
        importlib.import_module(name)
    logging = Background("logging", lambda: _begin_logging(order, prepared, done))
    winner = best_of(done, prepared.setting.metric)
    reporter.progress("refit", message=winner.candidate, best=winner.score, metric=prepared.setting.metric)
    development = prepared.split.development
    known, labels = prepared.frame.iloc[development], prepared.target.labels[development]
    with library_errors("fitting the winner again", reporter):
        pipeline = refit(known, labels, prepared.features, prepared.setting, winner)
        baseline = fit_baseline(known, labels, prepared.setting)
    reporter.progress("holdout", message="measuring on the untouched rows")
    with library_errors("measuring on the holdout", reporter):
        report = _assess(order, prepared, searched, (pipeline, baseline))
    reporter.progress("saving", message="saving the model")
    mlflow_record = logging.result()
    signature = mlflow_record.write_model(
        pipeline, prepared.features.columns, _output_column(prepared), _example(prepared), order.output / "model"
    )
    logged = None
    if order.mlflow is not None:
        reporter.check()
        reporter.progress("logging", message="logging to MLflow")
        logged = mlflow_record.log_run(order.mlflow, run_record(order, report, done), order.output)
    return _result(report, signature, logged)


def _begin_logging(order: TrainingOrder, prepared: Prepared, done: list[TrialRecord]) -> ModuleType:
    """Import MLflow, which takes seconds, and log the trials. What fails here is tried again at the end."""
    mlflow_record = importlib.import_module("tidemill.training.mlflow_record")
    if order.mlflow is not None:
        with contextlib.suppress(Unavailable):
            mlflow_record.log_trials(order.mlflow, run_head(order, done, prepared.setting.metric))
    return mlflow_record


def _assess(order: TrainingOrder, prepared: Prepared, searched: Searched, models: tuple[Any, Any]) -> dict[str, Any]:
    """Predict the holdout once, with the winner and the baseline, and write everything that follows from it."""
    pipeline, baseline = models
    rows = prepared.split.holdout
    frame, truth = prepared.frame.iloc[rows], prepared.target.codes[rows]
    scores = scores_of(pipeline, frame, prepared.setting)
    naive = scores_of(baseline, np.zeros((len(rows), 1)), prepared.setting)
    groups = None if prepared.groups is None else prepared.groups[rows]
    target, seed = prepared.target, order.options.seed
    holdout = Holdout(target.task, target.classes, prepared.rows[rows], truth, scores, naive, groups)
    write_holdout(order.output / "holdout.parquet", holdout)
    figures = figure_data(target, truth, scores, seed)
    importance = permutation_importance(pipeline, frame, truth, prepared.features, prepared.setting)
    figures["importance"] = {"metric": prepared.setting.metric, "columns": importance}
    report = make_report(
        order, prepared, searched,
        {
            "metrics": holdout_metrics(target, truth, scores, seed, groups),
            "baseline_metrics": holdout_metrics(target, truth, naive, seed, groups),
            "figures": figures,
        },
    )  # fmt: skip
    draw_figures(figures, order.output / "figures")
    text = json.dumps(without_nan(report), ensure_ascii=False, allow_nan=False)
    (order.output / "report.json").write_text(text, encoding="utf-8")
    return report


def _output_column(prepared: Prepared) -> Column:
    return Column(prepared.target.name, _KIND_OF_LABELS[prepared.target.labels.dtype.kind], nullable=False)


def _example(prepared: Prepared) -> Any:
    return prepared.frame.iloc[prepared.split.development[:_EXAMPLE_ROWS]].reset_index(drop=True)


def _result(report: dict[str, Any], signature: dict[str, Any], logged: Any) -> dict[str, Any]:
    names = ("task", "target", "classes", "metric", "metrics", "candidate", "warnings")
    return {
        **{name: report[name] for name in names},
        "trials": len(report["trials"]),
        "signature": signature,
        "mlflow_run_id": logged.run_id if logged else None,
        "mlflow_model_uri": logged.model_uri if logged else None,
    }
