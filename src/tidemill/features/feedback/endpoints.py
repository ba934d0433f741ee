"""Routes of feedback."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.requests import ClientDisconnect

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.deps import IntakeMetricsDep, ServicesDep, SessionDep, Standing, UploadsDep, require, standing
from tidemill.features.feedback import files, service
from tidemill.features.feedback.rows import ToldTruth
from tidemill.kit.disk_room import within_disk_room
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
        ToldTruth(
            f"/items/{index}/truth",
            item.prediction_id,
            item.truth,
            item.observed_at,
            id_place=f"/items/{index}/prediction_id",
            moment_place=f"/items/{index}/observed_at",
        )
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
    *,
    query: Annotated[FeedbackFileQuery, Query()],
    services: ServicesDep,
    metrics: IntakeMetricsDep,
    principal: FeedbackPrincipal,
    uploader: Uploader,
    uploads: UploadsDep,
) -> FeedbackCounts:
    """Attach truths from a CSV or NDJSON file (``Content-Type``), stored batch by batch.

    It is read as the file of a dataset is: any usual delimiter, gzip and zstd, UTF-8, UTF-16 or what ``charset`` says.
    Cells of CSV have no types: they are read as the prediction's model needs them. Rows without a truth are skipped.
    The first batch with a fault ends the upload with 422 naming its rows; batches before it stay, and sending the
    mended file again counts nothing twice, but two truths for one prediction replace each other again.
    """
    sessions = services.sessions
    sender = service.Sender(principal.key_id, current_request_id(), query.deployment)
    content_type, limit_bytes = request.headers.get("content-type", ""), services.settings.api.max_upload_bytes
    total = FeedbackCounts()
    in_hand = uploads.one(principal.key_id, services.settings.api.max_uploads)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(in_hand)
        content = within_disk_room(uploader.holding(request.stream()), Path(tempfile.gettempdir()))
        open_bytes = await stack.enter_async_context(files.spooled(content))
        try:
            async with uploads.reading(principal.key_id):
                rows = await asyncio.to_thread(files.reader_for, content_type, query, open_bytes, limit_bytes)
            async for batch in uploader.holding(uploads.in_turn(principal.key_id, files.batches(rows))):
                await _require_client(request)
                counts = await _store(sessions, batch, sender)
                metrics.took_feedback(counts)
                total = total.plus(counts)
        except Invalid as error:
            kept = f"The {total.received} rows before are stored." if total.received else "Nothing was stored."
            raise type(error)(error.code, f"{error.detail} {kept}", error.problems) from None
    return total.model_copy(update={"warnings": list(rows.warnings)})


async def _require_client(request: Request) -> None:
    """Raises ClientDisconnect: nobody waits for the rest, and who sends it again has nothing counted twice."""
    if await request.is_disconnected():
        raise ClientDisconnect


async def _store(sessions: SessionFactory, batch: list[files.FileRow], sender: service.Sender) -> FeedbackCounts:
    if problems := [row for row in batch if isinstance(row, Problem)]:
        raise Invalid("feedback_invalid", f"{len(problems)} rows of the file cannot be read.", problems)
    rows = [row for row in batch if isinstance(row, ToldTruth)]
    skipped = len(batch) - len(rows)
    async with transaction(sessions) as session:
        counts = await service.record(session, rows, sender)
    return counts.plus(FeedbackCounts(received=skipped, skipped=skipped))
