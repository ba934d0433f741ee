"""Bring a database to the newest schema. Safe to call from several processes at once: one migrates, the rest wait."""

from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from tidemill.settings.model import DatabaseSettings

_LOCK = 7236418
_MIGRATION_TIMEOUT_SECONDS = 600


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files("tidemill.db"))) / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def migrate(settings: DatabaseSettings, revision: str = "head") -> None:
    """Apply all missing migrations in one transaction under an advisory lock."""
    engine = create_engine(
        settings.url.get_secret_value(), connect_args={"connect_timeout": settings.connect_timeout_seconds}
    )
    try:
        with engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_TIMEOUT_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            command.upgrade(alembic_config(connection), revision)
    finally:
        engine.dispose()
