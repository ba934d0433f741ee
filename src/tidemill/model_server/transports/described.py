"""One deployment's own OpenAPI document: the typed route with the fields of the model that it serves now."""

from typing import Any

from fastapi import APIRouter, Response

from tidemill.kit.names import Name
from tidemill.kit.signatures import FLOAT_MAX, Column, Param
from tidemill.model_server.models import ServedModel
from tidemill.model_server.transports.server import Caller, ServingDep, answer
from tidemill.schemas.predictions import PredictReply
from tidemill.schemas.problem import ProblemDetails
from tidemill.web.document import declare_problems
from tidemill.web.documentation import KEY_SCHEME

router = APIRouter(prefix="/api/v1/deployments", tags=["predict"])
_REFERENCE = "#/components/schemas/{model}"
_SCHEMAS: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number", "format": "float", "minimum": -FLOAT_MAX, "maximum": FLOAT_MAX},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "binary": {"type": "string", "contentEncoding": "base64"},
}
"""By MLflow's types; nested ones take any value here and are checked by the model's own runtime."""


@router.get("/{name}/openapi.json", operation_id="deployment_openapi", response_model=dict[str, Any])
async def describe(name: Name, serving: ServingDep, _caller: Caller) -> Response:
    """The OpenAPI document of one deployment, for generating clients: its rows have the model's own columns."""
    with serving.models.lease(name) as served:
        return answer(served.spec, document_of(served))


def document_of(served: ServedModel) -> dict[str, Any]:
    """OpenAPI 3.1. Changes whenever another version is served, whose number is the document's version."""
    spec = served.spec
    reply = PredictReply.model_json_schema(ref_template=_REFERENCE)
    problem = ProblemDetails.model_json_schema(ref_template=_REFERENCE)
    schemas = reply.pop("$defs") | problem.pop("$defs")
    schemas |= {"PredictReply": reply, "ProblemDetails": problem, "Row": row_schema(served.columns)}
    if spec.classes:
        schemas["RowPrediction"]["properties"]["prediction"] = {"enum": spec.classes}
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    params = {
        "type": ["object", "null"],
        "properties": {name: _schema_of_param(param) for name, param in served.params.items()},
        "additionalProperties": False,
    }
    members = {"inputs": rows, "params": params}
    body = {"type": "object", "required": ["inputs"], "properties": members, "additionalProperties": False}
    operation: dict[str, Any] = {
        "operationId": "predict",
        "security": [{KEY_SCHEME.scheme_name: []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": "Predictions in the order of the rows.", "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictReply"}}}}},
    }  # fmt: skip
    declare_problems(operation, names_something=True, method="post", with_key=True)
    scheme = KEY_SCHEME.model.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{spec.name} ({spec.model_name})", "version": str(spec.model_version)},
        "paths": {f"/api/v1/deployments/{spec.name}/predict": {"post": operation}},
        "components": {"schemas": schemas, "securitySchemes": {KEY_SCHEME.scheme_name: scheme}},
    }


def row_schema(columns: tuple[Column, ...]) -> dict[str, Any]:
    """A row as the signature has it; columns beyond it are ignored and so allowed."""
    return {
        "type": "object",
        "properties": {column.name: _schema_of(column) for column in columns},
        "required": [column.name for column in columns if column.required],
    }


def _schema_of(column: Column) -> dict[str, Any]:
    schema = _SCHEMAS.get(column.type, {})
    if not column.nullable or not schema:
        return schema
    return schema | {"type": [schema["type"], "null"]}


def _schema_of_param(param: Param) -> dict[str, Any]:
    schema = _SCHEMAS.get(param.type, {})
    return {"type": "array", "items": schema} if param.is_list else schema
