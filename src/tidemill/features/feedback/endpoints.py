"""Routes of feedback."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.deps import IntakeMetricsDep, SessionDep, SessionsDep, Standing, require, standing
from tidemill.features.feedback import files, service
from tidemill.features.feedback.rows import ToldTruth
from tidemill.kit.errors import Invalid, Problem
from tidemill.kit.logging import current_request_id
from tidemill.schemas.feedback import FeedbackCounts, FeedbackCreate, FeedbackFileQuery

router = APIRouter(prefix="/api/v1/feedback", tags=["feedback"])
FeedbackPrincipal = Annotated[Principal, Depends(require(Scope.FEEDBACK_WRITE))]
Uploader = Annotated[Standing, Depends(standing(Scope.FEEDBACK_WRITE))]
_FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": "string", "minLength": 1}} for name in ("text/csv", "application/x-ndjson")
        },
    }
}


@router.post("", operation_id="feedback_create")
async def create(
    body: FeedbackCreate, session: SessionDep, metrics: IntakeMetricsDep, principal: FeedbackPrincipal
) -> FeedbackCounts:
    """Attach truths to predictions by id, all or none of the request.

    The same truth again changes nothing. A truth that the prediction's model cannot have predicted (a text for a
    regression, a label that is none of its classes) gets 422 with its pointer. Unknown ids are kept: the prediction may
    still be on its way.
    """
    rows = [
        ToldTruth(f"/items/{index}/truth", item.prediction_id, item.truth, item.observed_at)
        for index, item in enumerate(body.items)
    ]
    counts = await service.record(
        session, rows, service.Sender(principal.key_id, current_request_id(), body.deployment)
    )
    metrics.took_feedback(counts)
    return counts


@router.post("/files", operation_id="feedback_upload", openapi_extra=_FILE_BODY)
async def upload(
    request: Request,
    query: Annotated[FeedbackFileQuery, Query()],
    sessions: SessionsDep,
    metrics: IntakeMetricsDep,
    principal: FeedbackPrincipal,
    uploader: Uploader,
) -> FeedbackCounts:
    """Attach truths from a CSV or NDJSON file (``Content-Type``), stored batch by batch while it streams in.

    Cells of CSV have no types: they are read as the prediction's model needs them. Rows without a truth are skipped.
    The first batch with a fault ends the upload with 422 naming its rows; batches before it stay, and sending the
    mended file again counts nothing twice.
    """
    sender = service.Sender(principal.key_id, current_request_id(), query.deployment)
    reader = files.reader_for(request.headers.get("content-type", ""), query)
    total = FeedbackCounts()
    async for batch in files.batches(uploader.holding(request.stream()), reader):
        counts = await _store(sessions, batch, sender, total.received)
        metrics.took_feedback(counts)
        total = total.plus(counts)
    return total


async def _store(
    sessions: SessionFactory, batch: list[files.FileRow], sender: service.Sender, stored: int
) -> FeedbackCounts:
    kept = f" The {stored} rows before this batch are stored." if stored else " Nothing was stored."
    if problems := [row for row in batch if isinstance(row, Problem)]:
        raise Invalid("feedback_invalid", f"{len(problems)} rows of the file cannot be read.{kept}", problems)
    rows = [row for row in batch if isinstance(row, ToldTruth)]
    skipped = len(batch) - len(rows)
    try:
        async with transaction(sessions) as session:
            counts = await service.record(session, rows, sender)
    except Invalid as error:
        raise Invalid(error.code, error.detail + kept, error.problems) from None
    return counts.plus(FeedbackCounts(received=skipped, skipped=skipped))
