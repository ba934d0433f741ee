"""What an exception means for a job: ours are kept, a full disk or a missing server is told as such, the rest is
``internal`` with the exception's type only, since its message may hold callers' data.

Used in the worker and in its children, so it imports no library; foreign exceptions are told by their names.
"""

import errno
import traceback
from collections.abc import Callable, Iterator

from tidemill.kit import sqlstates
from tidemill.kit.errors import Invalid, TidemillError, Unavailable

_MOST_CAUSES = 8
_DISK: dict[int | None, Callable[[], TidemillError]] = {
    errno.ENOSPC: lambda: Unavailable("disk_full", "The worker's disk has no space left."),
    errno.EDQUOT: lambda: Unavailable("disk_full", "The worker's disk has no space left."),
    errno.EFBIG: lambda: Invalid("disk_limit_exceeded", "The job wrote more to disk than its limit."),
}
_PASSING = {
    ("psycopg", "OperationalError"): ("database_unavailable", "PostgreSQL does not answer."),
    ("psycopg", "InterfaceError"): ("database_unavailable", "PostgreSQL does not answer."),
    ("psycopg_pool", "PoolTimeout"): ("database_unavailable", "PostgreSQL does not answer."),
    ("sqlalchemy", "OperationalError"): ("database_unavailable", "PostgreSQL does not answer."),
    ("sqlalchemy", "InterfaceError"): ("database_unavailable", "PostgreSQL does not answer."),
    # What is left of a session whose connection broke, where a library tried to go on with it, as Optuna does.
    ("sqlalchemy", "PendingRollbackError"): ("database_unavailable", "PostgreSQL does not answer."),
    ("optuna", "StorageInternalError"): ("database_unavailable", "PostgreSQL does not keep the search's trials."),
    ("sqlalchemy", "TimeoutError"): ("database_busy", "All connections to PostgreSQL are in use."),
    ("procrastinate", "ConnectorException"): ("database_unavailable", "PostgreSQL does not answer."),
    ("httpx", "TransportError"): ("server_unavailable", "A server that the job needs does not answer."),
    ("requests", "ConnectionError"): ("server_unavailable", "A server that the job needs does not answer."),
    ("requests", "Timeout"): ("server_unavailable", "A server that the job needs does not answer."),
    ("urllib3", "HTTPError"): ("server_unavailable", "A server that the job needs does not answer."),
}
"""Exceptions, by package and name, that trying again may cure."""


def explain(error: BaseException) -> TidemillError:
    """The error of the domain behind ``error`` or one of its causes."""
    if isinstance(error, TidemillError):
        return error
    # The innermost cause is the most telling one.
    for cause in reversed(list(_causes(error))):
        known = _known(cause)
        if known is not None:
            return known
    return TidemillError("internal", f"The job failed unexpectedly ({type(error).__name__}); the log tells where.")


def where(error: BaseException) -> str:
    """The traceback's places without the exceptions' messages, which may hold callers' data."""
    return "\n\n".join(
        "".join(traceback.format_tb(cause.__traceback__)) + type(cause).__name__
        for cause in reversed(list(_causes(error)))
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised from. What merely happened before it (its context) explains nothing."""
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _known(error: BaseException) -> TidemillError | None:
    if isinstance(error, TidemillError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK:
        return _DISK[error.errno]()
    if isinstance(error, MemoryError):
        return Invalid("memory_limit_exceeded", "The job needs more memory than there is.")
    state = getattr(error, "sqlstate", None)
    if (passing := sqlstates.passing(state)) is not None:
        return passing
    for kind in type(error).__mro__:
        found = _PASSING.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return Unavailable(*found)
    return None
