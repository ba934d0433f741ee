"""Every task a worker can run, and when tasks run by themselves."""

from typing import Any

from tidemill.features.datasets import tasks as datasets
from tidemill.features.experiments import tasks as experiments
from tidemill.features.monitoring.tasks import REPORT
from tidemill.features.predictions import tasks as predictions
from tidemill.features.registry import tasks as registry
from tidemill.features.retention import tasks as retention
from tidemill.jobs.definition import TaskDefinition
from tidemill.jobs.schedules import Schedule

TASKS: tuple[TaskDefinition[Any], ...] = (
    *datasets.TASKS,
    experiments.TASK,
    experiments.END_RUNS,
    REPORT,
    predictions.PARTITIONS,
    *registry.TASKS,
    retention.RETENTION,
)  # fmt: skip
SCHEDULES: tuple[Schedule, ...] = (
    datasets.HOURLY,
    predictions.HOURLY,
    experiments.HOURLY,
    registry.HOURLY,
    retention.DAILY,
)  # fmt: skip
