"""Bring a database to the newest schema. Safe to call from several processes at once: one migrates, the rest wait.

A schema is never taken back. A migration only adds what the release before does not mind (it expands), and what nothing
reads any more goes one release later (it contracts); so the release before runs on a newer schema.
"""

import logging
from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from tidemill.kit.errors import Conflict
from tidemill.settings.model import DatabaseSettings

log = logging.getLogger(__name__)

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
    """Apply all missing migrations in one transaction under an advisory lock.

    Does nothing where a newer release has migrated already. Raises Conflict for a schema of something else.
    """
    engine = create_engine(
        settings.url.get_secret_value(), connect_args={"connect_timeout": settings.connect_timeout_seconds}
    )
    try:
        with engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_TIMEOUT_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if not _is_newer(connection):
                command.upgrade(alembic_config(connection), revision)
    finally:
        engine.dispose()


def _is_newer(connection: Connection) -> bool:
    """True if a release after this one made the schema, which is so while a stack returns to the release before."""
    present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if present is None or present in known:
        return False
    if not present.isdigit() or present <= max(known):
        raise Conflict("schema_unknown", "The database's schema is not one of Tidemill's.")
    log.warning("The schema is newer than this release, which runs on it as it is")
    return True
