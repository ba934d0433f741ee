"""Errors of the domain as RFC 9457 answers. The only place that knows which error is which HTTP status."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.kit import errors
from tidemill.kit.errors import Problem, TidemillError
from tidemill.kit.logging import current_request_id

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_PROBLEMS = 100
_STATUS: dict[type[TidemillError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.Malformed: 400,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.Invalid: 422,
    errors.DeadlineExceeded: 504,
    errors.Unavailable: 503,
}
RETRY_AFTER_SECONDS = "2"
_LATER = {"Retry-After": RETRY_AFTER_SECONDS}
_HEADERS = {401: {"WWW-Authenticate": 'Bearer realm="tidemill"'}, 503: _LATER, 504: _LATER}
_HTTP_CODES = {400: "bad_request", 404: "route_not_found", 405: "method_not_allowed", 413: "body_too_large"}


def status_of(error: TidemillError) -> int:
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


def problem_body(error: TidemillError, status: int, instance: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:tidemill:problem:{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": current_request_id(),
    }
    if error.problems:
        body["errors"] = [problem.as_dict() for problem in error.problems[:MAX_PROBLEMS]]
    return body


def problem_response(error: TidemillError, request: Request, status: int | None = None) -> JSONResponse:
    """The answer for ``error``; ``app.state.problem_members``, where set, adds members that other dialects know."""
    status = status_of(error) if status is None else status
    body = problem_body(error, status, request.scope["path"])
    members: Callable[[TidemillError], dict[str, Any]] | None = getattr(request.app.state, "problem_members", None)
    if members is not None:
        body |= members(error)
    return JSONResponse(body, status, headers=_HEADERS.get(status), media_type=MEDIA_TYPE)


def of_validation(raised: RequestValidationError) -> tuple[TidemillError, int]:
    """A request that does not fit its schema, told by pointers, never by the values sent."""
    found = raised.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return errors.Malformed("body_not_json", "The body is not JSON."), 400
    shown = found[:MAX_PROBLEMS]
    problems = [Problem(_pointer(item["loc"]), str(item["type"]), str(item["msg"])) for item in shown]
    return errors.Invalid("request_invalid", "The request does not fit its schema.", problems), 422


def _pointer(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location]
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


def route_not_found(request: Request) -> JSONResponse:
    return problem_response(errors.NotFound("route_not_found", "There is no such route."), request)


def method_not_allowed(request: Request, methods: Sequence[str]) -> JSONResponse:
    """405 with every method that the path takes."""
    error = errors.Invalid("method_not_allowed", "The path does not take this method.")
    response = problem_response(error, request, 405)
    response.headers["Allow"] = ", ".join(methods)
    return response


async def _on_tidemill_error(request: Request, raised: Exception) -> JSONResponse:
    assert isinstance(raised, TidemillError)
    return problem_response(raised, request)


async def _on_validation_error(request: Request, raised: Exception) -> JSONResponse:
    assert isinstance(raised, RequestValidationError)
    error, status = of_validation(raised)
    return problem_response(error, request, status)


async def _on_http_exception(request: Request, raised: Exception) -> JSONResponse:
    assert isinstance(raised, HTTPException)
    code = _HTTP_CODES.get(raised.status_code, f"http_{raised.status_code}")
    response = problem_response(errors.Invalid(code, str(raised.detail)), request, raised.status_code)
    response.headers.update(raised.headers or {})
    return response


async def _on_unusable_text(request: Request, raised: Exception) -> JSONResponse:
    """Half a surrogate pair, which JSON can write and no encoding can."""
    log.warning("A text cannot be encoded", extra={"error_type": type(raised).__name__})
    return problem_response(errors.Invalid("value_unusable", "A text in the request is not Unicode."), request)


async def on_unexpected(request: Request, raised: Exception) -> JSONResponse:
    """500 for what nobody foresaw; the log has it, the answer only its request id."""
    log.error("Unexpected error", exc_info=raised, extra={"error_type": type(raised).__name__})
    error = TidemillError("internal", "Something failed inside; the log holds the details under the request id.")
    return problem_response(error, request, 500)


class UnexpectedErrorMiddleware:
    """Answers what nobody expected inside the request's id and its log line; the framework would do so outside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def noting_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except ClientDisconnect:
            log.info("A client went away before its body was read")
            if not has_begun:
                gone = errors.Malformed("body_incomplete", "The body ended before its announced end.")
                await problem_response(gone, Request(scope))(scope, receive, send)
        except Exception as raised:
            if has_begun:
                raise  # the connection is cut, so that nobody takes half an answer for a whole one
            request = Request(scope)
            await (await on_unexpected(request, raised))(scope, receive, send)


def install_problem_handlers(app: FastAPI) -> None:
    app.add_exception_handler(TidemillError, _on_tidemill_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(UnicodeEncodeError, _on_unusable_text)
    app.add_exception_handler(Exception, on_unexpected)
