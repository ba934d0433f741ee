"""Errors on inference routes: problem details with the members that clients of other dialects look for."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tidemill.kit import errors
from tidemill.kit.errors import TidemillError
from tidemill.web.problems import problem_response

_MLFLOW_CODES: tuple[tuple[type[TidemillError], str], ...] = (
    (errors.NotFound, "RESOURCE_DOES_NOT_EXIST"),
    (errors.Conflict, "INVALID_STATE"),
    (errors.Unauthenticated, "UNAUTHENTICATED"),
    (errors.Forbidden, "PERMISSION_DENIED"),
    (errors.Invalid, "INVALID_PARAMETER_VALUE"),
    (errors.DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (errors.Unavailable, "TEMPORARILY_UNAVAILABLE"),
)


def mlflow_code(error: TidemillError) -> str:
    return next((code for kind, code in _MLFLOW_CODES if isinstance(error, kind)), "INTERNAL_ERROR")


async def _on_tidemill_error(request: Request, raised: Exception) -> JSONResponse:
    assert isinstance(raised, TidemillError)
    extra = {"error": raised.detail, "error_code": mlflow_code(raised), "message": raised.detail}
    return problem_response(raised, request, extra=extra)


def install_inference_problems(app: FastAPI) -> None:
    app.add_exception_handler(TidemillError, _on_tidemill_error)
