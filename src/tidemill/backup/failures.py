"""What goes wrong below a backup, in the words of the domain."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from tidemill.jobs.failures import explain
from tidemill.kit.errors import TidemillError


@contextmanager
def explained() -> Iterator[None]:
    """Failing disks, databases and task groups become errors of `tidemill.kit.errors`; bugs stay what they are."""
    try:
        yield
    except TidemillError:
        raise
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise (explain(first) if isinstance(first, (OSError, SQLAlchemyError, psycopg.Error)) else first) from failed
    except (OSError, SQLAlchemyError, psycopg.Error) as error:
        raise explain(error) from error
