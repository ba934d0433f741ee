"""The typed route: rows as JSON objects in, predictions with their ids and probabilities out."""

from typing import Any

from fastapi import APIRouter, Request, Response

from tidemill.kit.errors import Invalid, Problem, Unsupported
from tidemill.kit.names import Name
from tidemill.model_server.dataplane import PredictionQuery
from tidemill.model_server.recording import PredictedRows
from tidemill.model_server.tables import RecordsTable
from tidemill.model_server.transports.server import (
    Caller,
    ServingDep,
    answered,
    asker,
    media_type,
    read_json,
    repeatable,
)
from tidemill.schemas.predictions import PredictReply, PredictRequest
from tidemill.web.request_memory import memory_of

router = APIRouter(prefix="/api/v1/deployments", tags=["predict"])
_MEMBERS = frozenset(PredictRequest.model_fields)
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": PredictRequest.model_json_schema()}}}
}


@router.post("/{name}/predict", operation_id="predict", response_model=PredictReply, openapi_extra=_BODY)
async def predict(name: Name, request: Request, serving: ServingDep, caller: Caller) -> Response:
    """Predict rows with the model that the deployment serves now.

    Every row is recorded before this answers, and named by its ``prediction_id``. 422 tells every cell that does not
    fit the model's signature. ``X-Model-Name`` and ``X-Model-Version`` name the version that answered. Sent again with
    the same ``Idempotency-Key`` (a UUIDv7 of the last hour), a request is the same predictions, recorded once.
    """
    if media_type(request) not in ("application/json", ""):
        raise Unsupported("media_type_unsupported", "Rows are sent as application/json.")
    content = await request.body()
    with serving.models.lease(name) as served:
        table, params = await read_json(request, content, serving, served, _table)
        key = await repeatable(request, content, serving)
        query = PredictionQuery(name, table, params, asker(caller), memory_of(request), key)
        rows = await serving.data_plane.predict(query)
    return await answered(serving, rows, reply_body)


def reply_body(rows: PredictedRows) -> dict[str, Any]:
    return {
        "deployment": rows.spec.name,
        "model_name": rows.spec.model_name,
        "model_version": rows.spec.model_version,
        "predictions": [
            {"prediction_id": prediction_id, **output}
            for prediction_id, output in zip(rows.prediction_ids, rows.outputs, strict=True)
        ],
    }


def _table(parsed: Any) -> tuple[RecordsTable, dict[str, Any] | None]:
    body = _members(parsed)
    return RecordsTable(body["inputs"], "/inputs"), _params(body)


def _members(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or "inputs" not in body:
        problem = Problem("/inputs", "member_missing", "The rows to predict.")
        raise Invalid("request_invalid", 'The body is {"inputs": [{column: value}, ...]}.', [problem])
    if not set(body) <= _MEMBERS:
        raise Invalid("request_invalid", f"The body may only have the members {', '.join(sorted(_MEMBERS))}.")
    return body


def _params(body: dict[str, Any]) -> dict[str, Any] | None:
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise Invalid("params_invalid", "params is an object.", [Problem("/params", "not_an_object", "Not an object.")])
    return params
