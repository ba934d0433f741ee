"""Errors on inference routes: problem details with the members that clients of other dialects look for."""

from fastapi import FastAPI

from tidemill.kit import errors
from tidemill.kit.errors import TidemillError

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


def members_of(error: TidemillError) -> dict[str, str]:
    return {"error": error.detail, "error_code": mlflow_code(error), "message": error.detail}


def install_inference_problems(app: FastAPI) -> None:
    """Every problem of the process, whoever finds it: a client of another dialect reads no other member."""
    app.state.problem_members = members_of
