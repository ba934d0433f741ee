"""What is backed up and restored: two databases and an object store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.db.engine import create_engine
from tidemill.settings.model import DatabaseSettings, Settings

APPLICATION = "tidemill-backup"
_STATEMENT_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Stack:
    """The data of one environment, and the settings that say how it is backed up."""

    settings: Settings
    tidemill: DatabaseSettings
    mlflow: DatabaseSettings
    store: ObjectStore

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[AsyncEngine]:
        """Of the platform's database, with time for long statements."""
        async with opened(self.tidemill) as engine:
            yield engine


@asynccontextmanager
async def opened(database: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    patient = database.model_copy(update={"statement_timeout_seconds": _STATEMENT_TIMEOUT_SECONDS})
    engine = create_engine(patient, APPLICATION)
    try:
        yield engine
    finally:
        await engine.dispose()


def stack_of(settings: Settings) -> Stack:
    return Stack(
        settings=settings,
        tidemill=settings.database,
        mlflow=mlflow_database(settings),
        store=open_object_store(settings.object_store),
    )


def mlflow_database(settings: Settings) -> DatabaseSettings:
    """What ``mlflow.database_url`` names, else ``mlflow`` on the platform's server."""
    url = settings.mlflow.database_url
    return with_url(settings.database, url.get_secret_value()) if url else with_name(settings.database, "mlflow")


def with_name(database: DatabaseSettings, name: str) -> DatabaseSettings:
    """The database ``name`` of the same server."""
    url = make_url(database.url.get_secret_value()).set(database=name)
    return with_url(database, url.render_as_string(hide_password=False))


def as_role(database: DatabaseSettings, role: str) -> DatabaseSettings:
    """The same database, with ``role`` taken on after signing in."""
    url = make_url(database.url.get_secret_value()).update_query_dict({"options": f"-c role={role}"})
    return with_url(database, url.render_as_string(hide_password=False))


def name_of(database: DatabaseSettings) -> str:
    return make_url(database.url.get_secret_value()).database or ""


def with_url(database: DatabaseSettings, url: str) -> DatabaseSettings:
    return database.model_copy(update={"url": SecretStr(url)})
