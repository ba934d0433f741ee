"""Training runs and leaderboards on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from tidemill.kit.metrics import ALL_METRICS
from tidemill.kit.names import Name
from tidemill.schemas.base import QueryParameters, Reply, RequestBody, document_texts
from tidemill.schemas.faults import first_faults
from tidemill.schemas.jobs import JobError, JobProgress, JobState
from tidemill.schemas.page import PageQuery

Task = Literal["binary", "multiclass", "regression"]
ColumnName = Annotated[str, Field(min_length=1, max_length=1024)]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
DEFAULT_TIME_BUDGET_SECONDS = 120.0
JOB_TAG = "tidemill.job_id"
"""Of everything that a training logs to MLflow."""


def _document_split(schema: dict[str, Any]) -> None:
    document_texts(schema)
    schema["anyOf"] = [{"properties": {name: {"type": "null"}}} for name in ("time_column", "group_column")]


class TrainingOptions(RequestBody):
    """How a model is searched for."""

    model_config = ConfigDict(json_schema_extra=_document_split)

    target: ColumnName
    """Column to predict."""
    task: Task | None = None
    """Inferred from the target when absent."""
    metric: Annotated[MetricName, WithJsonSchema({"type": "string", "enum": list(ALL_METRICS)})] | None = None
    """What the search optimises; by default ``roc_auc``, ``log_loss`` or ``rmse``, by task."""
    time_column: ColumnName | None = None
    """Split by time: the newest rows become the holdout."""
    group_column: ColumnName | None = None
    """Split by group: rows of one group stay together."""
    exclude: Annotated[list[ColumnName], Field(max_length=10_000), first_faults(10_000)] = Field(default_factory=list)
    """Columns the model must not see."""
    trials: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Exact number of trials. With it alone the same request gives the same model."""
    time_budget_seconds: Annotated[float | None, Field(ge=1, le=7 * 86400)] = None
    """Time for search and refit; 120 when neither this nor ``trials`` is given. How many trials fit varies."""
    holdout_share: Annotated[float, Field(ge=0.05, le=0.5)] = 0.2
    """Share of the rows that is kept untouched until the end."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the split, the search and the models."""

    @model_validator(mode="after")
    def _one_split(self) -> "TrainingOptions":
        if self.time_column is not None and self.group_column is not None:
            raise ValueError("name a time column or a group column, not both")
        return self


class TrainingRequest(TrainingOptions):
    """A training run to start."""

    dataset: Name
    """Dataset to learn from."""
    dataset_version: Annotated[int | None, Field(ge=1, le=999_999_999)] = None
    """Number of its version; the newest when absent."""
    name: Name | None = None
    """Experiment and model; by default ``<dataset>-<target>``."""
    timeout_seconds: Annotated[float | None, Field(gt=0, le=30 * 86400)] = None
    """Longest one attempt may take; by default derived from the time budget."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Higher runs first."""


class TrainingStarted(Reply):
    run_id: str
    job_id: str
    name: str
    """Experiment and model."""


class MetricValue(Reply):
    """A metric on the holdout with its 95% interval (percentile bootstrap)."""

    value: float
    low: float
    high: float


class TrainingRun(Reply):
    """A training run; everything after ``status`` is absent until it has succeeded."""

    id: str
    name: str
    """Experiment and model."""
    job_id: str
    status: JobState
    dataset: str
    dataset_version: int
    options: TrainingOptions
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    task: Task | None
    metric: str | None
    candidate: str | None
    """Kind of the winning model."""
    trials: int | None
    """Trials that were finished, pruned ones included."""
    metrics: dict[str, MetricValue]
    """On the holdout, by name."""
    model_version: int | None
    """Number of the registered version."""
    mlflow_run_id: str | None


class FigureFile(Reply):
    """A picture of the run; fetch it from ``figures/{name}``."""

    name: str
    size_bytes: int


class TrainingRunDetail(TrainingRun):
    """With the whole report."""

    progress: JobProgress | None
    """Where the job stands."""
    error: JobError | None = None
    """Why it failed, or why it waits for another attempt; absent too once the job has been cleared away."""
    report: dict[str, Any] | None
    """Task, split, leaderboard, metrics, warnings and the figures' data."""
    figures: list[FigureFile]


class RunFilter(QueryParameters):
    """Which runs a list shows; all when empty."""

    name: Name | None = None
    """Only runs of this experiment."""
    dataset: Name | None = None
    """Only runs on this dataset."""


class RunListQuery(RunFilter, PageQuery):
    """A page of runs."""

    def filter(self) -> RunFilter:
        return RunFilter(name=self.name, dataset=self.dataset)


class LeaderboardQuery(PageQuery):
    sort: MetricName | None = None
    """Metric to sort by, best first; by default the one that the newest run optimised."""


class LeaderboardRow(Reply):
    rank: int
    run_id: str
    job_id: str
    candidate: str | None
    dataset: str
    dataset_version: int
    model_version: int | None
    metrics: dict[str, MetricValue]
    finished_at: datetime


class Leaderboard(Reply):
    """Finished runs of one experiment, best first. Holdouts of different dataset versions differ: compare with care."""

    name: str
    sort: str
    higher_is_better: bool
    items: list[LeaderboardRow]
    next_page_token: str | None = None
