"""Monitoring reports on the wire."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from tidemill.kit.labels import Label
from tidemill.kit.names import Name
from tidemill.schemas.base import Moment, Reply, RequestBody
from tidemill.schemas.page import PageQuery

Verdict = Literal["within", "below", "above", "not_enough_labels", "no_holdout"]


class ReportCreate(RequestBody):
    deployment: Name
    since: Moment | None = None
    """First moment of the predictions to look at; by default seven days before ``until``. At most 366 days."""
    until: Moment | None = None
    """Moment after the last one; by default now."""
    model_version: Annotated[int | None, Field(ge=1, le=999_999_999)] = None
    """Only predictions of this version."""


class ReportListQuery(PageQuery):
    deployment: Name | None = None
    """Only reports of this deployment."""


class Interval(Reply):
    """A value with its 95% bootstrap interval; ``low`` and ``high`` are absent where it cannot be computed."""

    value: float
    low: float | None
    high: float | None


class CountInterval(Reply):
    """Of a count that was scaled from a random sample: holds the true count in at least 95 of 100 samples."""

    low: int
    high: int


class LiveMetric(Reply):
    name: str
    """As scikit-learn names it."""
    live: Interval
    holdout: Interval | None
    """Of the same version, measured when it was trained."""
    difference: Interval | None
    """Live minus holdout."""
    tolerance: float | None
    """The change that would matter: 0.05 for scores, a tenth of the holdout value for errors."""
    verdict: Verdict
    """``within`` (no measurable change, and one that matters would have shown), ``below`` (measurably worse than on the
    holdout), ``above`` (measurably better), ``not_enough_labels``, or ``no_holdout`` to compare with."""
    labels_needed: int | None
    """With ``not_enough_labels``: about how many labels in all would decide it; absent if no number would."""


class Quantiles(Reply):
    count: int
    """How many numbers there are; scaled where it has an interval, and the figures below are the sample's."""
    count_interval: CountInterval | None = None
    mean: float
    minimum: float
    p05: float
    p25: float
    p50: float
    p75: float
    p95: float
    p99: float
    maximum: float


class ClassCount(Reply):
    label: Label
    predicted: int
    observed: int
    """Among the labelled rows."""
    predicted_interval: CountInterval | None = None
    """Set where ``predicted`` was scaled from a sample."""
    observed_interval: CountInterval | None = None


class Histogram(Reply):
    edges: list[float]
    """One more than ``counts``."""
    counts: list[int]
    count_intervals: list[CountInterval] | None = None
    """Set where ``counts`` were scaled from a sample."""


class PredictionDistribution(Reply):
    """What the model predicted: ``classes`` for classification, ``histogram`` and ``quantiles`` of its numbers."""

    classes: list[ClassCount] | None = None
    """Most frequent first, at most 100."""
    quantiles: Quantiles | None = None
    """Of the score: the predicted number, the probability of the second class, or that of the most probable class."""
    histogram: Histogram | None = None


class Representativeness(Reply):
    """Whether the labelled rows look like the unlabelled ones, judged by the model's score."""

    representative: bool | None
    """Absent when there are too few rows to tell."""
    statistic: float | None
    """Kolmogorov-Smirnov distance of the scores of labelled and unlabelled rows, 0 to 1."""
    labelled: Quantiles | None
    unlabelled: Quantiles | None
    detail: str
    """One sentence for people."""


class Day(Reply):
    day: date
    """UTC."""
    predictions: int
    labelled: int
    labelled_interval: CountInterval | None = None
    """Set where ``labelled`` was scaled from a sample."""
    metric: Interval | None
    """The report's metric on that day's labelled rows, where they are enough."""


class Slice(Reply):
    """One model version of the deployment, or all its versions together."""

    predictions: int
    """In the ledger, exactly."""
    labelled: int
    """With a truth that the model could have predicted; scaled where it has an interval."""
    labelled_interval: CountInterval | None = None
    invalid_truths: int
    """Truths that the model cannot have predicted, such as feedback that came before its prediction; left out."""
    invalid_truths_interval: CountInterval | None = None
    coverage_percent: float
    """Share of the predictions that are labelled."""
    sampled_predictions: int | None = None
    """Set where the distribution is of a uniform random sample: how many rows it has."""
    sampled_labels: int | None = None
    """Set where the labelled rows are a uniform random sample of all that have a truth: how many it has."""
    task: str | None
    metric: str | None
    """The metric that ``verdict`` and ``days`` speak of: the one that training optimised."""
    metrics: list[LiveMetric]
    verdict: Verdict
    label_delay_seconds: Quantiles | None
    """From prediction to the moment the truth was observed."""
    representativeness: Representativeness
    distribution: PredictionDistribution
    days: list[Day]
    notes: list[str]
    """What a reader must know to read the figures right."""


class VersionSlice(Slice):
    model_name: str
    model_version: int


class Measured(Reply):
    """What the computing child finds out."""

    total: Slice
    versions: list[VersionSlice]


class ReportCounts(Reply):
    predictions: int
    """In the ledger, exactly."""
    rows_read: int
    """Of these, looked at: all, or a random sample and the labelled ones when there are more than a report reads."""
    labelled: int
    """With a truth that the model could have predicted; scaled where it has an interval."""
    labelled_interval: CountInterval | None = None
    coverage_percent: float
    """Share of ``predictions`` whose truth is known."""
    unmatched_feedback: int
    """Predictions with feedback that are not in the ledger of any deployment, from the same span of time."""
    revisions: int
    """How often a truth was replaced by a different one."""


class ReportContent(Reply):
    counts: ReportCounts
    total: Slice
    versions: list[VersionSlice]
    notes: list[str]


class ReportSummary(Reply):
    id: str
    deployment: str
    since: datetime
    until: datetime
    model_version: int | None
    """Set when the report looks at one version only."""
    job_id: str
    created_at: datetime
    created_by: str


class Report(ReportSummary):
    content: ReportContent
