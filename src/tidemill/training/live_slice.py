"""One slice of a monitoring report: a model version's labelled rows measured, and set beside its holdout."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.evaluation.comparison import Estimate, judge
from tidemill.evaluation.distribution import compare_samples, histogram
from tidemill.schemas.monitoring import (
    ClassCount,
    Day,
    Histogram,
    Interval,
    LiveMetric,
    PredictionDistribution,
    Quantiles,
    Representativeness,
    Slice,
    Verdict,
)
from tidemill.training.live_estimates import estimate
from tidemill.training.live_rows import Columns, ServedModel

MIN_LABELS = 30
"""Below this no verdict is given: bootstrap intervals of so few rows are too narrow to be trusted."""
_MAX_CLASSES_SHOWN = 100
_HISTOGRAM_BINS = 20
_MAX_ROWS_MEASURED = 100_000
_MAX_ROWS_MEASURED_PER_DAY = 5_000
_DAY_RESAMPLES = 200
_RESAMPLES = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()
_USUAL_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def measure_slice(rows: Columns | None, model: ServedModel, seed: int, *, metric_by_day: bool = True) -> Slice:
    """Everything a report says about ``rows``, which one model version (or several alike) predicted."""
    if rows is None:
        return _nothing(model)
    notes: list[str] = []
    live = _live(rows, model, seed, notes)
    metric = _main_metric(model, live)
    metrics = [_beside_holdout(name, found, model, int(rows.labelled.sum())) for name, found in live.items()]
    return Slice(
        predictions=len(rows),
        labelled=int(rows.labelled.sum()),
        invalid_truths=rows.invalid_truths,
        coverage_percent=_percent(int(rows.labelled.sum()), len(rows)),
        task=model.task,
        metric=metric,
        metrics=metrics,
        verdict=_verdict(metrics, metric, model),
        label_delay_seconds=quantiles(rows.delay_seconds),
        representativeness=_representativeness(rows),
        distribution=_distribution(rows, model),
        days=_days(rows, model, metric if metric_by_day else None, seed),
        notes=notes,
    )


def _live(rows: Columns, model: ServedModel, seed: int, notes: list[str]) -> dict[str, Interval]:
    labelled = rows.where(rows.labelled)
    if model.task is None:
        notes.append("The task of the model is not known, so there is no metric; only counts are reported.")
        return {}
    if len(labelled) == 0:
        return {}
    if len(labelled) > _MAX_ROWS_MEASURED:
        notes.append(f"The metrics are measured on a random sample of {_MAX_ROWS_MEASURED} labelled rows.")
    if model.task != "regression" and rows.probabilities is None:
        notes.append("Some predictions have no probabilities, so only metrics of the labels are measured.")
    sample = _sampled(labelled, _MAX_ROWS_MEASURED, seed)
    if model.task != "regression" and len(np.unique(sample.truth)) < 2:
        notes.append("All labelled rows are of one class; metrics that need two cannot be measured.")
    return estimate(sample, model, seed, _RESAMPLES)


def _sampled(rows: Columns, limit: int, seed: int) -> Columns:
    if len(rows) <= limit:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
    return rows.where(np.sort(chosen))


def _main_metric(model: ServedModel, live: Mapping[str, Interval]) -> str | None:
    if model.task is None:
        return None
    wanted = [model.metric, _USUAL_METRIC.get(model.task), *live]
    known = [name for name in wanted if name is not None]
    return next((name for name in known if name in live), known[0] if known else None)


def _beside_holdout(name: str, live: Interval, model: ServedModel, labels: int) -> LiveMetric:
    holdout = _interval(model.holdout.get(name))
    verdict: Verdict = "no_holdout" if holdout is None else "not_enough_labels"
    metric = LiveMetric(
        name=name, live=live, holdout=holdout, difference=None, tolerance=None, verdict=verdict, labels_needed=None
    )
    of_live, of_holdout = _estimate(live), _estimate(holdout)
    if of_live is None or of_holdout is None:
        return metric.model_copy(update={"labels_needed": MIN_LABELS if holdout and labels < MIN_LABELS else None})
    judgement = judge(name, of_live, of_holdout, labels)
    too_few = labels < MIN_LABELS
    difference = judgement.difference
    return metric.model_copy(
        update={
            "difference": Interval(value=difference.value, low=difference.low, high=difference.high),
            "tolerance": judgement.tolerance,
            "verdict": "not_enough_labels" if too_few else judgement.verdict,
            "labels_needed": max(MIN_LABELS, judgement.labels_needed or 0) if too_few else judgement.labels_needed,
        }
    )


def _interval(found: object) -> Interval | None:
    if isinstance(found, Mapping) and isinstance(found.get("value"), (int, float)):
        return Interval(value=found["value"], low=found.get("low"), high=found.get("high"))
    return None


def _estimate(interval: Interval | None) -> Estimate | None:
    if interval is None or interval.low is None or interval.high is None:
        return None
    return Estimate(interval.value, interval.low, interval.high)


def _verdict(metrics: Iterable[LiveMetric], metric: str | None, model: ServedModel) -> Verdict:
    """Of the main metric; where that could not be measured, labels are lacking."""
    for found in metrics:
        if found.name == metric:
            return found.verdict
    return "not_enough_labels" if model.holdout else "no_holdout"


def quantiles(values: NDArray[np.float64]) -> Quantiles | None:
    """Of the numbers in ``values``; None if there are none."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    low, p05, p25, p50, p75, p95, p99, high = (float(value) for value in np.quantile(values, _LEVELS))
    return Quantiles(
        count=len(values), mean=float(values.mean()), minimum=low, maximum=high,
        p05=p05, p25=p25, p50=p50, p75=p75, p95=p95, p99=p99,
    )  # fmt: skip


def _representativeness(rows: Columns) -> Representativeness:
    labelled, unlabelled = rows.scores[rows.labelled], rows.scores[~rows.labelled]
    labelled, unlabelled = labelled[~np.isnan(labelled)], unlabelled[~np.isnan(unlabelled)]
    verdict, statistic, detail = _compare_labelled(rows, labelled, unlabelled)
    return Representativeness(
        representative=verdict,
        statistic=statistic,
        labelled=quantiles(labelled),
        unlabelled=quantiles(unlabelled),
        detail=detail,
    )


def _compare_labelled(
    rows: Columns, labelled: NDArray[np.float64], unlabelled: NDArray[np.float64]
) -> tuple[bool | None, float | None, str]:
    if bool(rows.labelled.all()) and len(rows):
        return True, None, "Every row has its truth."
    if min(len(labelled), len(unlabelled)) < MIN_LABELS:
        return None, None, "Too few rows with or without a truth to compare them."
    found = compare_samples(labelled, unlabelled)
    share = f"{_percent(int(rows.labelled.sum()), len(rows))}% of the rows have a truth"
    if found.differs:
        said = f"{share}, and their scores differ from the others': the live metrics speak for the labelled rows only."
        return False, found.statistic, said
    if not found.conclusive:
        return None, found.statistic, f"{share}: too few to tell whether they are like the others."
    return True, found.statistic, f"{share}; by their scores they are like the others."


def _distribution(rows: Columns, model: ServedModel) -> PredictionDistribution:
    scores = rows.scores[np.isfinite(rows.scores)]
    made = PredictionDistribution(quantiles=quantiles(scores))
    if len(scores):
        # Probabilities have the same ends in every report, so that reports compare.
        edges, counts = histogram(scores, _HISTOGRAM_BINS, (0.0, 1.0) if model.classes else None)
        made.histogram = Histogram(edges=edges, counts=counts)
    if model.classes:
        made.classes = _class_counts(rows, model.classes)
    return made


def _class_counts(rows: Columns, classes: list[Any]) -> list[ClassCount]:
    predicted = np.bincount(rows.predicted[rows.predicted >= 0], minlength=len(classes))
    observed = np.bincount(rows.truth[rows.labelled].astype(np.int64), minlength=len(classes))
    order = np.argsort(-predicted, kind="stable")[:_MAX_CLASSES_SHOWN]
    return [
        ClassCount(label=classes[index], predicted=int(predicted[index]), observed=int(observed[index]))
        for index in order
    ]


def _days(rows: Columns, model: ServedModel, metric: str | None, seed: int) -> list[Day]:
    days = []
    for number in np.unique(rows.days):
        part = rows.where(rows.days == number)
        labelled = int(part.labelled.sum())
        measured = None
        if metric is not None and labelled >= MIN_LABELS:
            sample = _sampled(part.where(part.labelled), _MAX_ROWS_MEASURED_PER_DAY, seed)
            measured = estimate(sample, model, seed, _DAY_RESAMPLES, only=metric).get(metric)
        day = _EPOCH + timedelta(days=int(number))
        days.append(Day(day=day, predictions=len(part), labelled=labelled, metric=measured))
    return days


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _nothing(model: ServedModel) -> Slice:
    nothing = Representativeness(
        representative=None, statistic=None, labelled=None, unlabelled=None, detail="There are no predictions."
    )
    return Slice(
        predictions=0, labelled=0, invalid_truths=0, coverage_percent=0.0, task=model.task, metric=None, metrics=[],
        verdict="not_enough_labels", label_delay_seconds=None, representativeness=nothing,
        distribution=PredictionDistribution(), days=[], notes=["There are no predictions in this span of time."],
    )  # fmt: skip
