"""Training runs and their metrics: the leaderboard's own copy of what MLflow records."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.db.tables.base import Base, CreatedAt, Json


class Experiment(Base):
    """A name under which runs compete; the models they make are registered under the same name."""

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]


class Run(Base):
    """One training run. What it found is absent until it has succeeded; its state is its job's."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_experiment_id_id", "experiment_id", "id"),
        Index("ix_runs_dataset_version_id", "dataset_version_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    experiment_name: Mapped[str]
    job_id: Mapped[str | None] = mapped_column(unique=True)
    dataset_name: Mapped[str]
    dataset_version_id: Mapped[str]
    dataset_version: Mapped[int]
    dataset_sha256: Mapped[str]
    options: Mapped[Json]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str]
    finished_at: Mapped[datetime | None]
    task: Mapped[str | None]
    metric: Mapped[str | None]
    candidate: Mapped[str | None]
    trials: Mapped[int | None]
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    model_version: Mapped[int | None]
    mlflow_run_id: Mapped[str | None]
    report_key: Mapped[str | None]
    figures: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    """``{name, key, size_bytes}`` each."""


class RunMetric(Base):
    """One metric of a finished run, so that every metric can be sorted by an index."""

    __tablename__ = "run_metrics"
    __table_args__ = (Index("ix_run_metrics_leaderboard", "experiment_id", "name", "value", "run_id"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    value: Mapped[float]
