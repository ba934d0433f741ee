"""The tables and the migrations say the same."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from tidemill.db.migrations import is_ours
from tidemill.db.tables import Base
from tidemill.settings.model import DatabaseSettings


def test_migrations_build_exactly_the_tables_the_code_declares(database: DatabaseSettings) -> None:
    engine = create_engine(database.url.get_secret_value())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
