"""Routes of the ledger: model servers ship to it, people read it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.deps import IntakeMetricsDep, SessionDep, SessionsDep, require
from tidemill.features.deployments import service as deployments
from tidemill.features.predictions import ingest, service
from tidemill.kit.errors import Invalid, Unsupported
from tidemill.schemas.page import Page, encode_token
from tidemill.schemas.predictions import Prediction, PredictionListQuery
from tidemill.schemas.serving import SegmentReceipt

router = APIRouter(prefix="/api/v1/predictions", tags=["predictions"])
ledger_router = APIRouter(prefix="/api/v1/ledger", tags=["serving"])
Reader = Annotated[Principal, Depends(require(Scope.PREDICTIONS_READ))]
ServingPrincipal = Annotated[Principal, Depends(require(Scope.SERVING))]
_NDJSON = "application/x-ndjson"
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {_NDJSON: {"schema": {"type": "string", "minLength": 1}}}},
}


@ledger_router.post("/segments", operation_id="ledger_segments_create", openapi_extra=_BODY)
async def ship(
    request: Request, sessions: SessionsDep, metrics: IntakeMetricsDep, _principal: ServingPrincipal
) -> SegmentReceipt:
    """Store a segment of a model server's ledger. Idempotent by prediction id: send it again until this answers.

    Lines that can never be stored are named in ``rejected``; all others are committed when this answers.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _NDJSON:
        raise Unsupported("segment_type_unsupported", f"A segment is {_NDJSON}.")
    receipt = await ingest.store_segment(sessions, await request.body())
    metrics.took_segment(receipt)
    return receipt


@router.get("", operation_id="predictions_list")
async def list_predictions(
    wanted: Annotated[PredictionListQuery, Query()], session: SessionDep, _principal: Reader
) -> Page[Prediction]:
    """Predictions of a deployment in a span of time (by default the last day), newest first.

    A page ends early where its rows are large. 404 for a name under which nothing was ever served.
    """
    found = await service.page(session, wanted, _position(wanted))
    items = [Prediction.model_validate(row) for row in found.items]
    if not items:
        await deployments.history(session, wanted.deployment, limit=1, before=None)  # tells an unknown name
    more = None
    if found.more:
        more = encode_token([items[-1].predicted_at.isoformat(), items[-1].prediction_id])
    return Page[Prediction](items=items, next_page_token=more)


@router.get("/{prediction_id}", operation_id="predictions_get")
async def get(prediction_id: str, session: SessionDep, _principal: Reader) -> Prediction:
    """One prediction. 404 also while it is still on its way from its model server, a second or so."""
    return Prediction.model_validate(await service.get(session, prediction_id))


def _position(wanted: PredictionListQuery) -> tuple[datetime, str] | None:
    after = wanted.after()
    if after is None:
        return None
    try:
        moment, prediction_id = after
        return datetime.fromisoformat(str(moment)), str(prediction_id)
    except ValueError:
        raise Invalid("page_token_invalid", "The page token is not one of ours.") from None
