"""What exceptions mean for a job."""

import errno

import httpx
import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

from tidemill.jobs.failures import explain, where
from tidemill.kit.errors import Invalid, NotFound, TidemillError, Unavailable


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exc.OperationalError("SELECT", {}, psycopg.OperationalError("gone")), "database_unavailable"),
        (raised_from(StorageInternalError(), exc.PendingRollbackError()), "database_unavailable"),
        (StorageInternalError(), "database_unavailable"),
        (exc.TimeoutError(), "database_busy"),
        (httpx.ConnectError("refused"), "server_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (raised_from(ValueError("wrapped"), psycopg.errors.AdminShutdown()), "database_unavailable"),
        (raised_from(RuntimeError("wrapped"), psycopg.errors.DiskFull()), "disk_full"),
    ],
)
def test_what_may_pass_is_unavailable(error: Exception, code: str) -> None:
    explained = explain(error)
    assert (type(explained), explained.code) == (Unavailable, code)


def test_too_little_memory_is_told_as_such() -> None:
    assert explain(MemoryError()).code == "memory_limit_exceeded"


def test_our_own_errors_are_kept_even_when_wrapped() -> None:
    error = Invalid("column_missing", "There is no such column.")
    assert explain(error) is error
    assert explain(raised_from(RuntimeError(), error)) is error


def test_what_merely_happened_before_a_bug_does_not_explain_it() -> None:
    error = KeyError("bug")
    error.__context__ = NotFound("model_not_found", "There is no such model.")
    assert explain(error).code == "internal"


def test_an_unknown_exception_gives_away_its_type_only() -> None:
    error = explain(ValueError("somebody's value"))
    assert (type(error), error.code) == (TidemillError, "internal")
    assert "ValueError" in error.detail
    assert "somebody" not in error.detail


def test_where_names_lines_but_no_messages() -> None:
    def fail() -> None:
        message = "a " + "secret"
        raise ValueError(message)

    with pytest.raises(ValueError, match="secret") as caught:
        fail()
    told = where(caught.value)
    assert "in fail" in told
    assert told.endswith("ValueError")
    assert "a secret" not in told
