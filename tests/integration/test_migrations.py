"""The tables and the migrations say the same; a database of any release before comes along with all its rows."""

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Column, Connection, Engine, MetaData, Table, create_engine, func, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.db.migrate import alembic_config, migrate, newest_revision
from tidemill.db.migrations import is_ours
from tidemill.db.tables import Base
from tidemill.kit.errors import Conflict
from tidemill.settings.model import DatabaseSettings

REVISIONS = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
_MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
_PARTITIONED = "p"
_LEFT_EMPTY = {"deployments.number"}
"""Columns that a rule of their table wants empty where another one is filled."""
_numbers = itertools.count()


@pytest.fixture
def empty(postgres_url: str) -> Iterator[DatabaseSettings]:
    """A database without any table."""
    name = f"empty_{os.getpid()}_{next(_numbers)}"
    server = postgres_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield DatabaseSettings(url=SecretStr(postgres_url.replace("/postgres?", f"/{name}?")))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine_of_empty(empty: DatabaseSettings) -> Iterator[Engine]:
    engine = create_engine(empty.url.get_secret_value())
    yield engine
    engine.dispose()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"include_name": is_ours})
    return list(compare_metadata(context, Base.metadata))


def our_tables(connection: Connection) -> list[Table]:
    """In the order in which they refer to one another; the ledger, whose rows need a partition first, left out."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: is_ours(name, "table", None) and name != "alembic_version")
    kinds: dict[str, str] = dict(connection.execute(text("SELECT relname, relkind::text FROM pg_class")).tuples().all())
    return [table for table in found.sorted_tables if kinds[table.name] != _PARTITIONED]


def some_value(column: Column[Any]) -> Any:
    """One value for each type, so that keys and what refers to them agree."""
    if isinstance(column.type, JSONB):
        return {"x": 1}
    return {str: "x", int: 1, float: 1.0, bool: True, datetime: _MOMENT, bytes: b"x"}[column.type.python_type]


def fill(connection: Connection) -> dict[str, int]:
    """One row in every table that there is; the rows of each."""
    for table in our_tables(connection):
        columns = [c for c in table.columns if c.identity is None and c.computed is None and str(c) not in _LEFT_EMPTY]
        values = {column.name: some_value(column) for column in columns}
        connection.execute(insert(table).values(values))
    return counts(connection)


def counts(connection: Connection) -> dict[str, int]:
    return {t.name: connection.scalar(select(func.count()).select_from(t)) or 0 for t in our_tables(connection)}


def test_migrations_build_exactly_the_tables_the_code_declares(database: DatabaseSettings) -> None:
    engine = create_engine(database.url.get_secret_value())
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_with_rows_comes_along_from_every_earlier_schema(
    empty: DatabaseSettings, engine_of_empty: Engine, revision: str
) -> None:
    migrate(empty, revision)
    with engine_of_empty.begin() as connection:
        before = fill(connection)
    assert before
    assert set(before.values()) == {1}
    migrate(empty)
    with engine_of_empty.connect() as connection:
        assert differences(connection) == []
        after = counts(connection)
    assert {name: after[name] for name in before} == before


def test_the_release_before_leaves_a_newer_schema_alone(database: DatabaseSettings) -> None:
    newer = f"{int(newest_revision() or 0) + 1:04}"
    engine = create_engine(database.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :newer"), {"newer": newer})
    migrate(database)
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == newer
        assert differences(connection) == []
    engine.dispose()


@pytest.mark.parametrize("revision", ["0000", "somebody_elses"])
def test_a_schema_of_something_else_is_refused(database: DatabaseSettings, revision: str) -> None:
    engine = create_engine(database.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()
    with pytest.raises(Conflict, match="not one of"):
        migrate(database)
