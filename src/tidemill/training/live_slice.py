"""One slice of a monitoring report: a model version's labelled rows measured, and set beside its holdout."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.evaluation.comparison import Estimate, judge
from tidemill.evaluation.distribution import compare_samples, histogram, within_range
from tidemill.evaluation.scaling import Scaling
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
from tidemill.training.live_estimates import estimate, usable_rows
from tidemill.training.live_rows import Columns, ServedModel
from tidemill.training.live_totals import Counting, Totals, scaled, scaled_all

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


def measure_slice(
    rows: Columns | None, model: ServedModel, seed: int, *, metric_by_day: bool = True, totals: Totals | None = None
) -> Slice:
    """Everything a report says about ``rows``, which one model version (or several alike) predicted.

    ``totals``: what the ledger holds where ``rows`` are samples of it; counts are then scaled to it.
    """
    if rows is None or (len(rows) == 0 and not totals):
        return _nothing(model)
    counting = Counting.of(rows, totals)
    notes = list(_sampling_notes(counting))
    live = _live(rows, model, seed, notes)
    metric = _main_metric(model, live)
    measured = min(usable_rows(rows.where(rows.labelled), model), _MAX_ROWS_MEASURED)
    metrics = [_beside_holdout(name, found, model, measured) for name, found in live.items()]
    labelled, labelled_interval = scaled(int(rows.labelled.sum()), counting.truths)
    invalid, invalid_interval = scaled(rows.invalid_truths, counting.truths)
    return Slice(
        predictions=counting.predictions,
        labelled=labelled,
        labelled_interval=labelled_interval,
        invalid_truths=invalid,
        invalid_truths_interval=invalid_interval,
        coverage_percent=_percent(labelled, counting.predictions),
        sampled_predictions=None if counting.uniform.is_complete else counting.uniform.seen,
        sampled_labels=None if counting.truths.is_complete else counting.truths.seen,
        task=model.task,
        metric=metric,
        metrics=metrics,
        verdict=_verdict(metrics, metric, model),
        label_delay_seconds=quantiles(rows.delay_seconds, counting.truths),
        representativeness=_representativeness(rows, counting),
        distribution=_distribution(rows, model, counting),
        days=_days(rows, model, metric if metric_by_day else None, seed, counting),
        notes=notes,
    )


def _sampling_notes(counting: Counting) -> Iterator[str]:
    if not counting.uniform.is_complete:
        yield (
            f"What is said of all predictions is scaled from a random sample of {counting.uniform.seen} of "
            f"{counting.predictions}; such counts have 95% intervals."
        )
    if not counting.truths.is_complete:
        yield (
            f"What is said of the labelled rows is of a random sample of {counting.truths.seen} of "
            f"{counting.truths.population} predictions with a truth; counts are scaled and have 95% intervals."
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
    elif model.task != "regression" and len(np.unique(sample.truth)) < len(model.classes or ()):
        notes.append("Some classes have no labelled row; metrics that are means over all classes are left out.")
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


def quantiles(values: NDArray[np.float64], scaling: Scaling | None = None) -> Quantiles | None:
    """Of the numbers in ``values``; None if there are none. ``scaling``: of their count, where they are a sample's."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    low, p05, p25, p50, p75, p95, p99, high = within_range(values, lambda scaled: np.quantile(scaled, _LEVELS)).tolist()
    count, interval = (len(values), None) if scaling is None else scaled(len(values), scaling)
    return Quantiles(
        count=count, count_interval=interval, mean=float(within_range(values, np.mean)), minimum=low, maximum=high,
        p05=p05, p25=p25, p50=p50, p75=p75, p95=p95, p99=p99,
    )  # fmt: skip


def _representativeness(rows: Columns, counting: Counting) -> Representativeness:
    labelled, unlabelled = rows.scores[rows.labelled], rows.scores[rows.uniform & ~rows.labelled]
    labelled, unlabelled = labelled[~np.isnan(labelled)], unlabelled[~np.isnan(unlabelled)]
    verdict, statistic, detail = _compare_labelled(rows, counting, labelled, unlabelled)
    return Representativeness(
        representative=verdict,
        statistic=statistic,
        labelled=quantiles(labelled, counting.truths),
        unlabelled=quantiles(unlabelled, counting.unlabelled(rows)),
        detail=detail,
    )


def _compare_labelled(
    rows: Columns, counting: Counting, labelled: NDArray[np.float64], unlabelled: NDArray[np.float64]
) -> tuple[bool | None, float | None, str]:
    known = counting.truths.scale(int(rows.labelled.sum())).value
    if known == counting.predictions > 0 and bool(rows.labelled.all()):
        return True, None, "Every row has its truth."
    if min(len(labelled), len(unlabelled)) < MIN_LABELS:
        return None, None, "Too few rows with or without a truth to compare them."
    found = compare_samples(labelled, unlabelled)
    share = f"{_percent(known, counting.predictions)}% of the rows have a truth"
    if found.differs:
        said = f"{share}, and their scores differ from the others': the live metrics speak for the labelled rows only."
        return False, found.statistic, said
    if not found.conclusive:
        return None, found.statistic, f"{share}: too few to tell whether they are like the others."
    return True, found.statistic, f"{share}; by their scores they are like the others."


def _distribution(rows: Columns, model: ServedModel, counting: Counting) -> PredictionDistribution:
    scores = rows.scores[np.isfinite(rows.scores) & rows.uniform]
    made = PredictionDistribution(quantiles=quantiles(scores, counting.uniform))
    if len(scores):
        # Probabilities have the same ends in every report, so that reports compare.
        edges, found = histogram(scores, _HISTOGRAM_BINS, (0.0, 1.0) if model.classes else None)
        counts, intervals = scaled_all(found, counting.uniform)
        made.histogram = Histogram(edges=edges, counts=counts, count_intervals=intervals)
    if model.classes:
        made.classes = _class_counts(rows, model.classes, counting)
    return made


def _class_counts(rows: Columns, classes: list[Any], counting: Counting) -> list[ClassCount]:
    predicted = np.bincount(rows.predicted[(rows.predicted >= 0) & rows.uniform], minlength=len(classes))
    observed = np.bincount(rows.truth[rows.labelled].astype(np.int64), minlength=len(classes))
    made = []
    for index in np.argsort(-predicted, kind="stable")[:_MAX_CLASSES_SHOWN]:
        of_predicted = scaled(int(predicted[index]), counting.uniform)
        of_observed = scaled(int(observed[index]), counting.truths)
        made.append(
            ClassCount(
                label=classes[index],
                predicted=of_predicted[0],
                predicted_interval=of_predicted[1],
                observed=of_observed[0],
                observed_interval=of_observed[1],
            )
        )
    return made


def _days(rows: Columns, model: ServedModel, metric: str | None, seed: int, counting: Counting) -> list[Day]:
    numbers = {_EPOCH + timedelta(days=int(number)) for number in np.unique(rows.days)} | set(counting.days or ())
    days = []
    for day in sorted(numbers):
        part = rows.where(rows.days == (day - _EPOCH).days)
        of_day = counting.of_day(day, part)
        labelled, interval = scaled(int(part.labelled.sum()), of_day.truths)
        measured = None
        if metric is not None and int(part.labelled.sum()) >= MIN_LABELS:
            sample = _sampled(part.where(part.labelled), _MAX_ROWS_MEASURED_PER_DAY, seed)
            measured = estimate(sample, model, seed, _DAY_RESAMPLES, only=metric).get(metric)
        days.append(
            Day(day=day, predictions=of_day.predictions, labelled=labelled, labelled_interval=interval, metric=measured)
        )
    return days


def _percent(part: int, whole: int) -> float:
    """To two decimals, and to three figures where that says nothing, as of 75 labels in three million rows."""
    percent = 100 * part / whole if whole else 0.0
    return round(percent, 2) if percent >= 1 else float(f"{percent:.3g}")


def _nothing(model: ServedModel) -> Slice:
    nothing = Representativeness(
        representative=None, statistic=None, labelled=None, unlabelled=None, detail="There are no predictions."
    )
    return Slice(
        predictions=0, labelled=0, invalid_truths=0, coverage_percent=0.0, task=model.task, metric=None, metrics=[],
        verdict="not_enough_labels", label_delay_seconds=None, representativeness=nothing,
        distribution=PredictionDistribution(), days=[], notes=["There are no predictions in this span of time."],
    )  # fmt: skip
