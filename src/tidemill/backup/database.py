"""An existing database as the place of a restore: is it empty, who else is in it, empty it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection, sql

from tidemill.backup.stack import APPLICATION
from tidemill.db.engine import conninfo
from tidemill.kit.errors import Forbidden, Unavailable
from tidemill.settings.model import DatabaseSettings

_MARK = "tidemill_restore"
"""Schema that is there while a restore is under way: what else is there then is half of it."""
_CONTENT = {
    "tidemill": ("datasets", "models", "experiments", "deployments", "predictions", "feedback", "jobs"),
    "mlflow": ("runs", "registered_models", "logged_models", "datasets"),
}
"""Tables that have rows once a stack was used. Keys and MLflow's first experiment come with every start."""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND application_name <> %s AND application_name NOT LIKE '%%exporter%%'
"""
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', %s)"


class RestoreDatabase:
    """One database, by a connection of its own in autocommit."""

    def __init__(self, name: str, owner: str, connection: AsyncConnection) -> None:
        self.name = name
        self.owner = owner
        """Role that the database belongs to, and all that is restored in it: its application's own."""
        self._connection = connection

    async def is_marked(self) -> bool:
        return await self._exists("SELECT to_regnamespace(%s) IS NOT NULL", _MARK)

    async def mark(self) -> None:
        await self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(_MARK)))

    async def unmark(self) -> None:
        await self._connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(_MARK)))

    async def content(self) -> str | None:
        """A table that has rows, None if none of those that matter has."""
        for table in _CONTENT[self.name]:
            if await self._exists("SELECT to_regclass(%s) IS NOT NULL", f"public.{table}"):
                query = sql.SQL("SELECT EXISTS (SELECT 1 FROM public.{})").format(sql.Identifier(table))
                row = await (await self._connection.execute(query)).fetchone()
                if row is not None and row[0]:
                    return table
        return None

    async def others(self) -> int:
        """How many other connections there are, exporters aside."""
        row = await (await self._connection.execute(_OTHERS, (APPLICATION,))).fetchone()
        return int(row[0]) if row else 0

    async def empty(self) -> None:
        """Remove every table of every schema, and leave ``public`` as a new database has it."""
        rows = await (await self._connection.execute(_SCHEMAS, (_MARK,))).fetchall()
        async with self._connection.transaction():
            for (schema,) in rows:
                await self._connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            await self._connection.execute("CREATE SCHEMA public")
            await self._connection.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
            await self._connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")

    async def _exists(self, query: str, value: str) -> bool:
        row = await (await self._connection.execute(query, (value,))).fetchone()
        return bool(row and row[0])


@asynccontextmanager
async def restore_database(name: str, database: DatabaseSettings) -> AsyncIterator[RestoreDatabase]:
    """Raises Unavailable when it cannot be reached, Forbidden for a role that may not restore it."""
    try:
        connection = await AsyncConnection.connect(
            conninfo(database),
            autocommit=True,
            application_name=APPLICATION,
            connect_timeout=database.connect_timeout_seconds,
        )
    except psycopg.OperationalError as error:
        raise Unavailable("database_unavailable", f"The database {name} cannot be reached.") from error
    async with connection:
        yield RestoreDatabase(name, await _become_owner(name, connection), connection)


async def _become_owner(name: str, connection: AsyncConnection) -> str:
    """Work as the database's owner, so that what is made belongs to it. Raises Forbidden for who may not."""
    row = await (await connection.execute(_OWNER)).fetchone()
    assert row is not None
    owner = str(row[0])
    try:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
    except psycopg.errors.InsufficientPrivilege:
        raise Forbidden(
            "restore_not_permitted", f"Only members of the role that owns the database of {name} can restore it."
        ) from None
    return owner
