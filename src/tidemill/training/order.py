"""What a training job asks of its computing child."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from tidemill.schemas.base import Schema
from tidemill.schemas.experiments import TrainingOptions


class DatasetReference(Schema):
    """The dataset version that the parts belong to, for the record."""

    name: str
    number: int
    version_id: str
    sha256: str


class MlflowTarget(Schema):
    """Where the run is logged."""

    url: str
    token: SecretStr | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 30
    git_commit: str | None = None


class TrainingOrder(Schema):
    """One training run.

    parts: Parquet files in order; a row's index counts through all of them. output: an existing empty directory.
    study_url: SQLAlchemy address for Optuna; in memory when absent. mlflow: nothing is logged when absent.
    """

    job_id: str
    model_name: str
    dataset: DatasetReference
    options: TrainingOptions
    parts: Annotated[list[Path], Field(min_length=1)]
    output: Path
    study_url: SecretStr | None = None
    mlflow: MlflowTarget | None = None
