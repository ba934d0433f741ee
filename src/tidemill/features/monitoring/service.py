"""Asking for monitoring reports, storing and finding them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.db.tables.jobs import Job
from tidemill.db.tables.monitoring import MonitoringReport
from tidemill.features.deployments import service as deployments
from tidemill.features.monitoring import queries
from tidemill.jobs import service as jobs
from tidemill.jobs.service import Kind
from tidemill.kit import ids
from tidemill.kit.clock import earlier, utc_now
from tidemill.kit.errors import Invalid, NotFound, Problem
from tidemill.schemas.monitoring import ReportContent, ReportCreate

DEFAULT_SPAN = timedelta(days=7)
LONGEST_SPAN = timedelta(days=366)


class ReportOrder(BaseModel):
    """What the job is told. The report's id is fixed here, so that a job run twice stores one report."""

    report_id: str
    deployment: str
    since: datetime
    until: datetime
    model_version: int | None = None


REPORT = Kind("monitoring.report", "monitoring", 1800)


async def request_report(session: AsyncSession, wanted: ReportCreate, principal: str) -> Job:
    """Enqueue a report. Raises NotFound for a name that never was deployed, Invalid for an unusable span of time."""
    await deployments.history(session, wanted.deployment, limit=1, before=None)
    until = wanted.until or utc_now()
    since = wanted.since or earlier(until, DEFAULT_SPAN)
    _check_span(since, until)
    order = ReportOrder(
        report_id=ids.new_id(ids.REPORT),
        deployment=wanted.deployment,
        since=since,
        until=until,
        model_version=wanted.model_version,
    )
    request = jobs.JobRequest(principal=principal, subject=f"deployment/{wanted.deployment}", priority=jobs.SOON)
    return await jobs.enqueue(session, REPORT, order, request)


def _check_span(since: datetime, until: datetime) -> None:
    if since >= until:
        problem = Problem("/since", "span_empty", "It is not before /until.")
        raise Invalid("span_empty", "The report's span of time is empty: since is not before until.", [problem])
    if until - since > LONGEST_SPAN:
        problem = Problem("/since", "span_too_long", f"More than {LONGEST_SPAN.days} days before /until.")
        raise Invalid("span_too_long", f"A report spans at most {LONGEST_SPAN.days} days.", [problem])


async def store_report(
    session: AsyncSession, order: ReportOrder, content: ReportContent, job_id: str, created_by: str
) -> None:
    """Store a finished report; a second time changes nothing."""
    values = {
        "id": order.report_id,
        "deployment": order.deployment,
        "since": order.since,
        "until": order.until,
        "model_version": order.model_version,
        "job_id": job_id,
        "content": content.model_dump(mode="json"),
        "created_by": created_by,
        "created_at": utc_now(),
    }
    await queries.store(session, values)


async def get_report(session: AsyncSession, report_id: str) -> MonitoringReport:
    """Raises NotFound, also while the report's job still runs."""
    report = await queries.get(session, report_id)
    if report is None:
        raise NotFound("report_not_found", "There is no such report; while its job runs, it is not there yet.")
    return report


async def list_reports(session: AsyncSession, deployment: str | None, limit: int, before: str | None) -> Sequence[Any]:
    """Newest first, without their content; ``before`` is the id of the last one already seen. Raises NotFound."""
    found = await queries.page(session, deployment, limit, before)
    if not found and deployment is not None:
        await deployments.history(session, deployment, limit=1, before=None)
    return found
