"""What goes wrong below a backup, in the words of the domain."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from tidemill.jobs.failures import explain
from tidemill.kit.errors import TidemillError

_EXPECTED = (OSError, SQLAlchemyError, psycopg.Error)


@contextmanager
def explained() -> Iterator[None]:
    """Failing disks, databases and task groups become errors of `tidemill.kit.errors`; bugs stay what they are."""
    try:
        yield
    except TidemillError:
        raise
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise (_explain(first) if isinstance(first, _EXPECTED) else first) from failed
    except _EXPECTED as error:
        raise _explain(error) from error


def _explain(error: Exception) -> TidemillError:
    found = explain(error)
    if found.code != "internal":
        return found
    return TidemillError("backup_failed", f"A disk or a database refused what was asked ({type(error).__name__}).")
