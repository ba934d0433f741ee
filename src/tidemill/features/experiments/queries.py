"""SQL of experiments."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, delete, insert, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from tidemill.db.pages import Cut, cut_rows
from tidemill.db.tables.experiments import Experiment, Run, RunMetric
from tidemill.db.tables.jobs import Job
from tidemill.jobs.states import JobStatus
from tidemill.kit import ids
from tidemill.schemas.experiments import RunFilter

_SHOWN_IN_LEADERBOARDS = (
    Run.id, Run.job_id, Run.candidate, Run.dataset_name, Run.dataset_version, Run.model_version, Run.metrics,
    Run.finished_at,
)  # fmt: skip


_MOST_UNFINISHED = 1000
_WITHOUT_RESULT = (JobStatus.FAILED, JobStatus.CANCELLED)


async def experiment_named(session: AsyncSession, name: str) -> Experiment | None:
    return await session.scalar(select(Experiment).where(Experiment.name == name))


async def create_experiment_if_missing(session: AsyncSession, name: str, who: str) -> None:
    row = {"id": ids.new_id(ids.EXPERIMENT), "name": name, "created_by": who}
    await session.execute(upsert(Experiment).values(row).on_conflict_do_nothing(index_elements=["name"]))


def _unfinished() -> Select[str, str, str]:
    """Job, its status and the experiment's name of trainings that began and came to nothing."""
    query = select(Job.id, Job.status, Run.experiment_name).join(Run, Run.job_id == Job.id)
    return query.where(Job.status.in_(_WITHOUT_RESULT), Run.finished_at.is_(None), Job.attempt > 0)


async def unfinished(session: AsyncSession, since: datetime) -> Sequence[tuple[str, str, str]]:
    newest_first = _unfinished().where(Job.finished_at >= since).order_by(Job.id.desc()).limit(_MOST_UNFINISHED)
    return [(row[0], row[1], row[2]) for row in await session.execute(newest_first)]


async def unfinished_of(session: AsyncSession, job_id: str) -> tuple[str, str, str] | None:
    row = (await session.execute(_unfinished().where(Job.id == job_id))).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


async def run_and_job(session: AsyncSession, run_id: str) -> tuple[Run, Job | None] | None:
    query = select(Run, Job).outerjoin(Job, Job.id == Run.job_id).where(Run.id == run_id)
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def runs_page(
    session: AsyncSession, wanted: RunFilter, page_size: int, before_id: str | None
) -> Cut[tuple[Run, Job | None]]:
    """Newest first."""
    query = select(Run, Job).outerjoin(Job, Job.id == Run.job_id).order_by(Run.id.desc())
    if wanted.name is not None:
        query = query.where(Run.experiment_name == wanted.name)
    if wanted.dataset is not None:
        query = query.where(Run.dataset_name == wanted.dataset)
    if before_id is not None:
        query = query.where(Run.id < before_id)
    large = (Run.options, Run.metrics, Run.figures, Job.payload, Job.progress, Job.result, Job.error)
    found = await cut_rows(session, query, large, page_size)
    return Cut([(row[0], row[1]) for row in found.items], found.more)


async def newest_metric(session: AsyncSession, experiment_id: str) -> str | None:
    """What the newest finished run of an experiment optimised."""
    query = select(Run.metric).where(Run.experiment_id == experiment_id, Run.metric.is_not(None))
    return await session.scalar(query.order_by(Run.id.desc()).limit(1))


async def ranked(
    session: AsyncSession, experiment_id: str, metric: tuple[str, bool], page_size: int, after: tuple[float, str] | None
) -> Cut[tuple[Run, float]]:
    """Runs by the metric (its name, and whether more is better), best first, from after the position ``after``."""
    name, descending = metric
    position = tuple_(RunMetric.value, RunMetric.run_id)
    query = (
        select(Run, RunMetric.value)
        .join(RunMetric, RunMetric.run_id == Run.id)
        .where(RunMetric.experiment_id == experiment_id, RunMetric.name == name)
        .options(load_only(*_SHOWN_IN_LEADERBOARDS, raiseload=True))
    )
    if descending:
        query = query.order_by(RunMetric.value.desc(), RunMetric.run_id.desc())
        query = query if after is None else query.where(position < after)
    else:
        query = query.order_by(RunMetric.value, RunMetric.run_id)
        query = query if after is None else query.where(position > after)
    found = await cut_rows(session, query, (Run.metrics,), page_size)
    return Cut([(row[0], row[1]) for row in found.items], found.more)


async def replace_metrics(session: AsyncSession, run: Run, values: dict[str, float]) -> None:
    await session.execute(delete(RunMetric).where(RunMetric.run_id == run.id))
    rows = [
        {"run_id": run.id, "experiment_id": run.experiment_id, "name": name, "value": value}
        for name, value in values.items()
    ]
    if rows:
        await session.execute(insert(RunMetric), rows)
