"""Routes of jobs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.db.engine import transaction
from tidemill.deps import SessionDep, SessionsDep, Standing, require, standing
from tidemill.features.jobs.events import stream_events
from tidemill.jobs import service
from tidemill.kit.errors import Forbidden, Unavailable
from tidemill.schemas.base import IN_DIGITS
from tidemill.schemas.jobs import Job, JobListQuery, JobLogLine, JobLogQuery, JobLogs
from tidemill.schemas.page import Page, encode_token

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
Reader = Annotated[Principal, Depends(require(Scope.JOBS_READ))]
Watcher = Annotated[Standing, Depends(standing(Scope.JOBS_READ))]
Writer = Annotated[Principal, Depends(require(Scope.JOBS_WRITE))]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Events as they happen"}
}
_MAX_SEQ = 2**53


@router.get("", operation_id="jobs_list")
async def list_jobs(query: Annotated[JobListQuery, Query()], session: SessionDep, _principal: Reader) -> Page[Job]:
    """Jobs, newest first."""
    found = await service.list_page(session, query, query.page_size, query.after_text())
    more = encode_token([found.items[-1].id]) if found.more else None
    return Page[Job](items=[Job.model_validate(job) for job in found.items], next_page_token=more)


@router.get("/{job_id}", operation_id="jobs_get")
async def get(job_id: str, session: SessionDep, _principal: Reader) -> Job:
    """One job as it stands: state, progress, result or error."""
    return Job.model_validate(await service.get(session, job_id))


@router.get("/{job_id}/logs", operation_id="jobs_logs")
async def logs(job_id: str, query: Annotated[JobLogQuery, Query()], session: SessionDep, _principal: Reader) -> JobLogs:
    """Lines that the job wrote, oldest first, from after ``after``."""
    found = await service.logs(session, job_id, query.after, query.limit)
    lines = [JobLogLine.model_validate(line) for line in found.items]
    return JobLogs(items=lines, next_after=lines[-1].seq if lines else query.after, more=found.more)


@router.get("/{job_id}/events", operation_id="jobs_events", response_class=StreamingResponse, responses=_STREAM)
async def events(
    request: Request,
    job_id: str,
    sessions: SessionsDep,
    watcher: Watcher,
    last_event_id: Annotated[
        int, Header(ge=0, le=_MAX_SEQ, description="Log lines up to this one were seen."), IN_DIGITS
    ] = 0,
) -> StreamingResponse:
    """Server-sent events ``state``, ``progress`` and ``log`` until the job has ended.

    The data of ``state`` is the job, of ``progress`` its progress, of ``log`` a log line with its ``seq`` as event id;
    a client that comes back with ``Last-Event-ID`` misses no line. The stream ends within seconds after the key was
    revoked or has expired.
    """
    async with transaction(sessions) as session:
        await service.get(session, job_id)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

    async def may_go_on() -> bool:
        try:
            await watcher.check()
        except (Forbidden, Unavailable):
            return False
        return not getattr(request.app.state, "stopping", False)

    stream = stream_events(sessions, job_id, last_event_id, may_go_on)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.post("/{job_id}:cancel", operation_id="jobs_cancel")
async def cancel(job_id: str, session: SessionDep, _principal: Writer) -> Job:
    """Cancel a queued job at once, ask a running one to end. 409 if it has ended or is being cancelled already."""
    return Job.model_validate(await service.cancel(session, job_id))
