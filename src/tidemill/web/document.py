"""What the OpenAPI document says beyond what FastAPI finds out: keys, problems, and what a path parameter may hold."""

from collections.abc import Collection, Iterator
from typing import Any

from fastapi import FastAPI

from tidemill.schemas.base import TEXT_PATTERN
from tidemill.web.documentation import KEY_SCHEME
from tidemill.web.problems import MEDIA_TYPE


def response_header(name: str, description: str) -> dict[str, Any]:
    """A header that every answer of a status has, for ``responses`` of a route."""
    return {name: {"description": description, "required": True, "schema": {"type": "string"}}}


JOB_LOCATION = response_header("Location", "The job's path, to be followed")
ENTITY_TAG = response_header("ETag", "Changes with the content")
_PARAMETER_PATTERN = "^[^/:\\u0000]+$"
_PROBLEM = "#/components/schemas/ProblemDetails"
_DESCRIPTIONS = {
    "400": "The body is not JSON, or breaks off",
    "401": "The key is missing, unknown, revoked or expired",
    "403": "The key lacks the scope",
    "404": "What was named does not exist",
    "409": "The present state forbids it",
    "412": "It was changed since it was read",
    "413": "The body or something in it is larger than a limit",
    "415": "The media type is none that is read here",
    "422": "The request does not fit its schema, or names what cannot be",
    "503": "Something that is needed is away, full or busy; try again",
}
_HEADERS = {
    "401": response_header("WWW-Authenticate", "How to show a key"),
    "503": response_header("Retry-After", "Seconds until another try is worth it"),
}
_ALWAYS = ("422", "503")
_WITH_KEY = ("401", "403")
_WITH_BODY = ("400", "413", "415")
_WRITING = frozenset({"post", "put", "patch", "delete"})


def complete(app: FastAPI, public_paths: Collection[str]) -> dict[str, Any]:
    """The document of ``app``, completed in place and kept: every path but ``public_paths`` wants a key."""
    document = app.openapi()
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes[KEY_SCHEME.scheme_name] = KEY_SCHEME.model.model_dump(by_alias=True, exclude_none=True, mode="json")
    for path, method, operation in _operations(document):
        if path not in public_paths:
            operation["security"] = [{KEY_SCHEME.scheme_name: []}]
        for parameter in operation.get("parameters", ()):
            _declare_text(parameter)
        declare_problems(operation, "{" in path, method, path not in public_paths)
    app.openapi_schema = document
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _declare_text(parameter: dict[str, Any]) -> None:
    for schema in (parameter["schema"], *parameter["schema"].get("anyOf", ())):
        if schema.get("type") == "string" and not {"pattern", "enum", "const", "format"} & set(schema):
            schema["pattern"] = _PARAMETER_PATTERN if parameter["in"] == "path" else TEXT_PATTERN


def declare_problems(operation: dict[str, Any], names_something: bool, method: str, with_key: bool) -> None:
    """Each status that can be expected, and ``default`` for all others, always as problem details."""
    statuses = [*_ALWAYS]
    statuses += _WITH_KEY if with_key else ()
    statuses += _WITH_BODY if "requestBody" in operation else ()
    statuses += ("404",) if names_something or with_key else ()
    statuses += ("409",) if method in _WRITING else ()
    headers = {each["name"].lower() for each in operation.get("parameters", ()) if each["in"] == "header"}
    statuses += ("412",) if "if-match" in headers else ()
    responses = operation["responses"]
    for status in sorted(statuses):
        known = responses.setdefault(status, {"description": _DESCRIPTIONS[status]})
        known.setdefault("content", {})[MEDIA_TYPE] = {"schema": {"$ref": _PROBLEM}}
        if status in _HEADERS:
            known["headers"] = _HEADERS[status]
    responses["default"] = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _PROBLEM}}},
    }
