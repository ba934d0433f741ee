"""Putting a job's row into the queue, on the session's own connection, so that both commit or neither.

Every delivery is a new entry of the queue and the row names the present one: the entry of a run that was overtaken,
returned or retried starts nothing and finishes nothing, whatever its worker still believes.
"""

from typing import Any

from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.tasks import configure_task
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.jobs import Job
from tidemill.kit.errors import Unavailable

RUN_JOB = "tidemill.run_job"
"""The one task of the queue that runs jobs of every kind."""


async def deliver(session: AsyncSession, job: Job) -> None:
    """Enter ``job`` into its queue, to be started from ``job.run_at`` on. Raises Unavailable without the database."""
    deferrer = configure_task(
        name=RUN_JOB,
        job_manager=_unopened_manager(),
        queue=job.queue,
        priority=job.priority,
        schedule_at=job.run_at,
        task_kwargs={"job_id": job.id},
        connection=await _connection_of(session),
    )
    try:
        job.engine_job_id = await deferrer.defer_async()
    except ConnectorException as error:
        raise Unavailable("database_unavailable", "PostgreSQL does not answer.") from error
    await session.flush()


async def withdraw(session: AsyncSession, job: Job) -> None:
    """Take a waiting job out of its queue; nothing happens if a worker holds it already."""
    if job.engine_job_id is None:
        return
    try:
        await _unopened_manager().cancel_job_by_id_async(
            job.engine_job_id, delete_job=True, connection=await _connection_of(session)
        )
    except ConnectorException as error:
        raise Unavailable("database_unavailable", "PostgreSQL does not answer.") from error


def _unopened_manager() -> JobManager:
    """Procrastinate's SQL without a pool of its own: every call names a connection."""
    return JobManager(PsycopgConnector())


async def _connection_of(session: AsyncSession) -> Any:
    connection = await session.connection()
    return (await connection.get_raw_connection()).driver_connection
