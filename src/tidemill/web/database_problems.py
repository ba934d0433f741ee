"""Errors of PostgreSQL as answers, of processes that have a database. Others do not import its libraries for it."""

import logging

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tidemill.kit import errors
from tidemill.kit.errors import TidemillError
from tidemill.kit.sqlstates import is_about_values, passing
from tidemill.web.problems import on_unexpected, problem_response

log = logging.getLogger(__name__)


def of_database(raised: Exception) -> TidemillError | None:
    """Unavailable if ``raised`` says that PostgreSQL is away, overloaded or full; None for any other fault.

    Invalid if it could not take a value, such as a text with the character NUL or too large a number. ``raised`` is of
    SQLAlchemy, or of psycopg itself, as the errors of COPY are.
    """
    if isinstance(raised, PoolTimeoutError):
        return errors.Unavailable("database_busy", "All connections to PostgreSQL are in use.")
    original = raised if isinstance(raised, psycopg.Error) else getattr(raised, "orig", None)
    state = getattr(original, "sqlstate", None)
    if (away := passing(state)) is not None:
        return away
    if isinstance(raised, (DataError, psycopg.DataError)) or is_about_values(state):
        return errors.Invalid("value_unusable", "The request names something that no name or number can be.")
    is_lost = isinstance(raised, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError))
    if is_lost or getattr(raised, "connection_invalidated", False):
        return errors.Unavailable("database_unavailable", "PostgreSQL does not answer.")
    return None


def install_database_problems(app: FastAPI) -> None:
    for kind in (DBAPIError, StatementError, PoolTimeoutError, psycopg.Error):
        app.add_exception_handler(kind, _on_database_error)


async def _on_database_error(request: Request, raised: Exception) -> JSONResponse:
    error = of_database(raised)
    if error is None:
        return await on_unexpected(request, raised)
    log.warning("The database failed", extra={"error_type": type(raised).__name__})
    return problem_response(error, request)
