"""Figures of all jobs and workers, from the database: the same whichever process reads them."""

from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.jobs import queries

_OPEN = ("queued", "running")
_COUNT_OPEN = text("SELECT status, count(*) FROM jobs WHERE status IN ('queued', 'running') GROUP BY status")
_COUNT_STALLED = text(
    """
    SELECT count(*) FROM jobs
    WHERE status = 'running' AND heartbeat_at < clock_timestamp() - make_interval(secs => :seconds)
    """
)
_COUNT_WORKERS = text(
    """
    SELECT count(*) FROM procrastinate_workers
    WHERE last_heartbeat >= clock_timestamp() - make_interval(secs => :seconds)
    """
)


async def read(session: AsyncSession, silent_after_seconds: float) -> list[Metric]:
    """Backlog by queue, open and stalled jobs, and lanes of workers heard of in the last ``silent_after_seconds``."""
    seconds = {"seconds": silent_after_seconds}
    open_jobs = {str(status): int(count) for status, count in await session.execute(_COUNT_OPEN)}
    stalled = await session.scalar(_COUNT_STALLED, seconds)
    alive = await session.scalar(_COUNT_WORKERS, seconds)
    return [
        *_backlog(await queries.backlog(session)),
        _open_jobs(open_jobs),
        GaugeMetricFamily(
            "tidemill_jobs_stalled", "Running jobs whose worker fell silent and that nobody took over yet.", stalled
        ),
        GaugeMetricFamily(
            "tidemill_job_lanes_alive", "Lanes of workers that sent a heartbeat lately; a worker has one or two.", alive
        ),
    ]


def _backlog(backlog: Sequence[queries.Backlog]) -> list[Metric]:
    waiting = GaugeMetricFamily("tidemill_job_queue_jobs", "Jobs that could start now.", labels=("queue",))
    oldest = GaugeMetricFamily(
        "tidemill_job_queue_oldest_seconds",
        "How long the oldest job that could start has been waiting.",
        labels=("queue",),
    )
    for entry in backlog:
        waiting.add_metric([entry.queue], entry.waiting)
        oldest.add_metric([entry.queue], entry.oldest_seconds)
    return [waiting, oldest]


def _open_jobs(counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily("tidemill_jobs_open", "Jobs that have not ended, by status.", labels=("status",))
    for status in _OPEN:
        family.add_metric([status], counts.get(status, 0))
    return family
