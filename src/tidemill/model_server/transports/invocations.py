"""MLflow's scoring protocol, for clients that know it: ``/invocations``, ``/ping``, ``/health``, ``/version``."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse

from tidemill import __version__
from tidemill.kit.errors import Conflict, Invalid, NotFound, Problem, Unsupported
from tidemill.kit.names import NAME_PATTERN, Name
from tidemill.kit.signatures import Column
from tidemill.model_server.dataplane import PredictionQuery
from tidemill.model_server.models import ServedModel
from tidemill.model_server.recording import PredictedRows
from tidemill.model_server.tables import ColumnsTable, InputTable, RecordsTable, SplitTable
from tidemill.model_server.transports.csv_table import CsvTable, unpacked
from tidemill.model_server.transports.parquet_table import ParquetTable
from tidemill.model_server.transports.server import (
    Caller,
    Serving,
    ServingDep,
    answered,
    asker,
    media_type,
    read_json,
    repeatable,
)
from tidemill.model_server.transports.sizes import csv_bytes
from tidemill.schemas.predictions import InvocationsReply
from tidemill.web.request_memory import memory_of

router = APIRouter(tags=["mlflow"])
_PARQUET = frozenset({"application/vnd.apache.parquet", "application/x-parquet"})
"""The registered name, which MLflow uses too, and what went before it."""
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_JSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "dataframe_split": {
            "type": "object",
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
                "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
            },
            "required": ["columns", "data"],
        },
        "dataframe_records": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "instances": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "inputs": {
            "anyOf": [
                {"type": "array", "items": {"type": "object"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
            ]
        },
        "params": {"type": ["object", "null"]},
    },
    "oneOf": [{"required": [name]} for name in _FORMATS],
    "additionalProperties": False,
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _JSON},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
OptionalName = Annotated[str | None, Query(alias="deployment", pattern=NAME_PATTERN)]
OptionalNameHeader = Annotated[str | None, Header(alias="X-Deployment", pattern=NAME_PATTERN)]


@router.post("/invocations", operation_id="invocations", response_model=InvocationsReply, openapi_extra=_BODY)
async def invoke(
    request: Request,
    serving: ServingDep,
    caller: Caller,
    deployment: OptionalName = None,
    x_deployment: OptionalNameHeader = None,
) -> Response:
    """Predict as MLflow's scoring server does, with the only deployment there is, or the one that is named."""
    return await _invoke(request, serving, caller, deployment or x_deployment or _only_one(serving))


@router.post(
    "/deployments/{name}/invocations",
    operation_id="invocations_of_deployment",
    response_model=InvocationsReply,
    openapi_extra=_BODY,
)
async def invoke_named(name: Name, request: Request, serving: ServingDep, caller: Caller) -> Response:
    """Predict as MLflow's scoring server does, with the named deployment."""
    return await _invoke(request, serving, caller, name)


@router.get("/ping", operation_id="mlflow_ping", response_class=PlainTextResponse)
@router.get("/health", operation_id="mlflow_health", response_class=PlainTextResponse)
async def ping() -> PlainTextResponse:
    """Whether this process answers."""
    return PlainTextResponse("\n")


@router.get("/version", operation_id="mlflow_version", response_class=PlainTextResponse)
async def version() -> PlainTextResponse:
    """Tidemill's version."""
    return PlainTextResponse(__version__)


async def _invoke(request: Request, serving: Serving, caller: Caller, name: str) -> Response:
    body = await request.body()
    with serving.models.lease(name) as served:
        table, params = await _read(request, body, serving, served)
        key = await repeatable(request, body, serving)
        query = PredictionQuery(name, table, params, asker(caller), memory_of(request), key)
        rows = await serving.data_plane.predict(query)
    warnings = (
        {"warnings": list(table.warnings)} if isinstance(table, CsvTable | ParquetTable) and table.warnings else {}
    )
    return await answered(serving, rows, lambda rows: reply_body(rows) | warnings)


def _csv_table(
    body: bytes, content_type: str, columns: Sequence[Column], max_rows: int, take: Callable[[int], None]
) -> CsvTable:
    plain = unpacked(body, take)
    take(csv_bytes(plain))
    return CsvTable(plain, content_type, columns, max_rows)


async def _read(
    request: Request, body: bytes, serving: Serving, served: ServedModel
) -> tuple[InputTable, dict[str, Any] | None]:
    """The rows and the params. Files are read in the background, so that others are answered meanwhile."""
    kind, take = media_type(request), memory_of(request).take
    plane, columns = serving.data_plane, served.columns
    if kind == "text/csv":
        content_type = request.headers.get("content-type", "")
        return await plane.background.run(lambda: _csv_table(body, content_type, columns, plane.max_rows, take)), None
    if kind in _PARQUET:
        return await plane.background.run(lambda: ParquetTable(body, columns, plane.max_rows, take)), None
    if kind not in ("application/json", ""):
        raise Unsupported(
            "media_type_unsupported", "Send application/json, text/csv or application/vnd.apache.parquet."
        )
    return await read_json(request, body, serving, served, lambda content: _table(_checked(content)))


def reply_body(rows: PredictedRows) -> dict[str, Any]:
    return {
        "predictions": [output["prediction"] for output in rows.outputs],
        "prediction_ids": rows.prediction_ids,
    }


def _only_one(serving: Serving) -> str:
    names = serving.models.names()
    if not names:
        raise NotFound("deployment_not_found", "There is no deployment.")
    if len(names) > 1:
        raise Conflict("deployment_ambiguous", "There are several deployments: name one, ?deployment=NAME.")
    return names[0]


def _checked(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise Invalid("request_invalid", "The body is an object.")
    given = [name for name in _FORMATS if name in content]
    if len(given) != 1:
        raise Invalid("request_invalid", f"The body has exactly one of the members {', '.join(_FORMATS)}.")
    if not set(content) <= {given[0], "params"}:
        raise Invalid("request_invalid", f"Beside {given[0]} the body may only have params.")
    return content


def _table(content: dict[str, Any]) -> tuple[InputTable, dict[str, Any] | None]:
    params = content.pop("params", None)
    if params is not None and not isinstance(params, dict):
        raise Invalid("params_invalid", "params is an object.", [Problem("/params", "not_an_object", "Not an object.")])
    name, value = content.popitem()
    at = f"/{name}"
    if name == "dataframe_split":
        return SplitTable(value, at), params
    if name == "inputs" and isinstance(value, dict):
        return ColumnsTable(value, at), params
    return RecordsTable(value, at), params
