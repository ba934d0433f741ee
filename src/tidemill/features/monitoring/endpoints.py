"""Routes of monitoring reports."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.deps import SessionDep, require
from tidemill.features.jobs.service import JobRoom
from tidemill.features.monitoring import service
from tidemill.schemas.jobs import Job
from tidemill.schemas.monitoring import Report, ReportCreate, ReportListQuery, ReportSummary
from tidemill.schemas.page import Page, encode_token
from tidemill.web.document import JOB_LOCATION

router = APIRouter(prefix="/api/v1/monitoring/reports", tags=["monitoring"])
Reader = Annotated[Principal, Depends(require(Scope.MONITORING_READ))]
Writer = Annotated[Principal, Depends(require(Scope.MONITORING_WRITE))]


@router.post(
    "",
    operation_id="monitoring_reports_create",
    status_code=202,
    responses={202: {"headers": JOB_LOCATION}},
    dependencies=[JobRoom],
)
async def create(body: ReportCreate, response: Response, session: SessionDep, principal: Writer) -> Job:
    """Measure a deployment on the predictions whose truth is known. The job's result holds ``report_id``."""
    job = await service.request_report(session, body, principal.key_id)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return Job.model_validate(job)


@router.get("", operation_id="monitoring_reports_list")
async def list_reports(
    query: Annotated[ReportListQuery, Query()], session: SessionDep, _principal: Reader
) -> Page[ReportSummary]:
    """Finished reports, newest first. 404 for a deployment that never was."""
    found = await service.list_reports(session, query.deployment, query.page_size + 1, query.after_text())
    items = [ReportSummary.model_validate(row) for row in found[: query.page_size]]
    more = encode_token([items[-1].id]) if len(found) > query.page_size else None
    return Page[ReportSummary](items=items, next_page_token=more)


@router.get("/{report_id}", operation_id="monitoring_reports_get")
async def get(report_id: str, session: SessionDep, _principal: Reader) -> Report:
    """One report with everything in it. 404 while its job runs."""
    return Report.model_validate(await service.get_report(session, report_id))
