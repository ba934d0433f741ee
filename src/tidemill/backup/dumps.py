"""Dumps of PostgreSQL databases: `pg_dump`'s custom format, restored in one transaction."""

import os
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.adapters.postgres_programs import client_program, run_client
from tidemill.backup.stack import name_of
from tidemill.db.engine import conninfo
from tidemill.settings.model import DatabaseSettings

_DUMP_TIMEOUT_SECONDS = 6 * 3600
_REVISION = text("SELECT version_num FROM alembic_version LIMIT 1")
_HAS_REVISION = text("SELECT to_regclass('alembic_version') IS NOT NULL")


async def dump(database: DatabaseSettings, path: Path, programs: Path | None, snapshot: str | None = None) -> None:
    """Write the database, as ``snapshot`` sees it, to ``path``. Raises Unavailable or DeadlineExceeded."""
    arguments = ["--format=custom", "--compress=gzip:4", "--no-owner", "--no-privileges", f"--file={path}"]
    if snapshot is not None:
        arguments.append(f"--snapshot={snapshot}")
    await run_client(client_program("pg_dump", programs), arguments, conninfo(database), _DUMP_TIMEOUT_SECONDS)


async def restore(database: DatabaseSettings, path: Path, programs: Path | None, owner: str) -> None:
    """Fill an empty database from a dump, wholly or not at all; everything belongs to the role ``owner``."""
    arguments = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    arguments += [f"--role={owner}", f"--dbname={name_of(database)}"]
    program = client_program("pg_restore", programs)
    await run_client(program, [*arguments, str(path)], conninfo(database), _DUMP_TIMEOUT_SECONDS)


async def check_readable(path: Path, programs: Path | None) -> None:
    """Raises Unavailable unless `pg_restore` can read the dump to its end."""
    program = client_program("pg_restore", programs)
    await run_client(program, [f"--file={os.devnull}", str(path)], "", _DUMP_TIMEOUT_SECONDS)


async def revision_of(connection: AsyncConnection) -> str | None:
    """Alembic's revision of the database that ``connection`` is to; None for one without tables."""
    if not (await connection.execute(_HAS_REVISION)).scalar():
        return None
    return (await connection.execute(_REVISION)).scalar()
