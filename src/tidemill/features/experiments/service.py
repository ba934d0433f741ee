"""What can be done with training runs: start, find, rank, and store what one found."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.pages import Cut
from tidemill.db.tables.datasets import DatasetVersion
from tidemill.db.tables.experiments import Experiment, Run
from tidemill.db.tables.jobs import Job
from tidemill.features.datasets import service as datasets
from tidemill.features.experiments import queries
from tidemill.features.experiments.kinds import TRAIN, TrainPayload
from tidemill.features.registry import service as registry
from tidemill.features.registry.service import NewModelVersion
from tidemill.jobs import service as jobs
from tidemill.jobs.service import JobRequest
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import NotFound
from tidemill.kit.metrics import check_metric, higher_is_better
from tidemill.kit.near_names import check_column
from tidemill.schemas.experiments import RunFilter, TrainingOptions, TrainingRequest, TrainingStarted

_MAX_NAME_CHARACTERS = 63
_SECONDS_BEYOND_BUDGET = 1800


@dataclass(frozen=True)
class Found:
    """What a run found; its files lie in the object store already. ``result`` is the computing child's answer."""

    result: dict[str, Any]
    bundle_sha256: str
    bundle_size_bytes: int
    holdout_key: str
    report_key: str
    figures: list[dict[str, Any]]


@dataclass(frozen=True)
class RankedRuns:
    """One page of a leaderboard, best first."""

    sort: str
    runs: Cut[tuple[Run, float]]


@dataclass(frozen=True)
class Unfinished:
    """A training whose job ended without a model. status: of the job."""

    job_id: str
    status: str
    experiment_name: str


async def unfinished(session: AsyncSession, since: datetime) -> list[Unfinished]:
    """Trainings whose jobs ended since a moment, began and found nothing; the newest ones where there are very many."""
    return [Unfinished(*row) for row in await queries.unfinished(session, since)]


async def unfinished_of(session: AsyncSession, job_id: str) -> Unfinished | None:
    """The training of a job, if that ended and found nothing."""
    row = await queries.unfinished_of(session, job_id)
    return None if row is None else Unfinished(*row)


async def start(session: AsyncSession, request: TrainingRequest, principal: str) -> TrainingStarted:
    """Create a run and its job, which keeps the dataset version from being deleted until it has ended.

    Raises NotFound for the dataset, Invalid for columns that it does not have and metrics that there are not.
    """
    version = await datasets.get_version(session, request.dataset, request.dataset_version)
    options = TrainingOptions.model_validate(request.model_dump(include=set(TrainingOptions.model_fields)))
    _check_columns(version, options)
    if options.metric is not None:
        check_metric(options.metric, options.task)
    name = request.name or default_name(request.dataset, request.target)
    await queries.create_experiment_if_missing(session, name, principal)
    run = _new_run(await get_experiment(session, name), version, options, principal)
    session.add(run)
    await session.flush()
    wanted = JobRequest(
        principal=principal,
        subject=f"experiment/{name}",
        priority=request.priority,
        timeout_seconds=request.timeout_seconds or _timeout_seconds(options),
    )
    run.job_id = (await jobs.enqueue(session, TRAIN, TrainPayload(run_id=run.id), wanted)).id
    await datasets.pin(session, version.id, f"training/{run.id}", run.job_id)
    await session.flush()
    return TrainingStarted(run_id=run.id, job_id=run.job_id, name=name)


def default_name(dataset: str, target: str) -> str:
    """``<dataset>-<target>`` as a name may be written."""
    text = re.sub(r"[^a-z0-9._-]+", "-", f"{dataset}-{target}".lower()).strip("-")
    return text[:_MAX_NAME_CHARACTERS]


async def get_experiment(session: AsyncSession, name: str) -> Experiment:
    """Raises NotFound."""
    experiment = await queries.experiment_named(session, name)
    if experiment is None:
        raise NotFound("experiment_not_found", "There is no such experiment.")
    return experiment


async def get_run(session: AsyncSession, run_id: str) -> tuple[Run, Job | None]:
    """A run and its job, which may have been cleared away. Raises NotFound."""
    found = await queries.run_and_job(session, run_id)
    if found is None:
        raise NotFound("run_not_found", "There is no such training run.")
    return found


async def list_runs(
    session: AsyncSession, wanted: RunFilter, page_size: int, before_id: str | None
) -> Cut[tuple[Run, Job | None]]:
    """At most ``page_size`` runs, newest first, older than ``before_id``."""
    return await queries.runs_page(session, wanted, page_size, before_id)


async def leaderboard(
    session: AsyncSession, name: str, sort: str | None, page_size: int, after: tuple[float, str] | None
) -> RankedRuns:
    """At most ``page_size`` finished runs, best first. Raises NotFound for the experiment, Invalid for the metric."""
    experiment = await get_experiment(session, name)
    if sort is not None:
        check_metric(sort)
    metric = sort or await queries.newest_metric(session, experiment.id) or "roc_auc"
    rows = await queries.ranked(session, experiment.id, (metric, higher_is_better(metric)), page_size, after)
    return RankedRuns(metric, rows)


async def finish(session: AsyncSession, run_id: str, found: Found) -> Run:
    """Store what a run found and register its model; a second call changes nothing."""
    run, _ = await get_run(session, run_id)
    if run.finished_at is not None:
        return run
    result = found.result
    version = await registry.register_version(session, _model_version(run, found))
    run.task, run.metric, run.candidate = result["task"], result["metric"], result["candidate"]
    run.trials, run.metrics, run.mlflow_run_id = result["trials"], result["metrics"], result["mlflow_run_id"]
    run.model_version, run.report_key, run.figures = version.number, found.report_key, found.figures
    run.finished_at = utc_now()
    await queries.replace_metrics(session, run, {name: one["value"] for name, one in result["metrics"].items()})
    await session.flush()
    return run


def _model_version(run: Run, found: Found) -> NewModelVersion:
    result = found.result
    assert run.job_id is not None
    return NewModelVersion(
        model_name=run.experiment_name,
        created_by=run.created_by,
        job_id=run.job_id,
        flavor="tidemill",
        signature=result["signature"],
        bundle_sha256=found.bundle_sha256,
        bundle_size_bytes=found.bundle_size_bytes,
        task=result["task"],
        target=result["target"],
        classes=result["classes"],
        metric=result["metric"],
        metrics=result["metrics"],
        warnings=result["warnings"],
        holdout_key=found.holdout_key,
        dataset_version_id=run.dataset_version_id,
        mlflow_run_id=result["mlflow_run_id"],
        mlflow_model_uri=result["mlflow_model_uri"],
    )


def _check_columns(version: DatasetVersion, options: TrainingOptions) -> None:
    known = [column["name"] for column in (version.table_schema or {}).get("columns", [])]
    named = [("target", options.target), ("time", options.time_column), ("group", options.group_column)]
    for what, name in [*named, *(("excluded", name) for name in options.exclude)]:
        if name is not None:
            check_column(name, known, what)


def _new_run(experiment: Experiment, version: DatasetVersion, options: TrainingOptions, principal: str) -> Run:
    assert version.number is not None
    return Run(
        id=ids.new_id(ids.RUN),
        experiment_id=experiment.id,
        experiment_name=experiment.name,
        dataset_name=version.dataset_name,
        dataset_version_id=version.id,
        dataset_version=version.number,
        dataset_sha256=version.sha256,
        options=options.model_dump(mode="json"),
        created_at=utc_now(),
        created_by=principal,
    )


def _timeout_seconds(options: TrainingOptions) -> float:
    budget = options.time_budget_seconds
    return TRAIN.timeout_seconds if budget is None else budget * 2 + _SECONDS_BEYOND_BUDGET
