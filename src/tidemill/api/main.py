"""Composition root of the api."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import open_object_store
from tidemill.api.app import create_app
from tidemill.api.figures import showing_figures
from tidemill.db.engine import create_engine, create_session_factory
from tidemill.db.metrics import watch_pool
from tidemill.deps import ApiServices
from tidemill.features.stores import service as stores
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import close_to_others
from tidemill.sandbox.confinement import protect_process
from tidemill.settings.model import Settings
from tidemill.settings.sources import settings_or_exit, told_or_exit
from tidemill.tracing.setup import tracing
from tidemill.web.metrics import create_registry
from tidemill.web.server import Server, limits_of, server_config


def build(settings: Settings) -> FastAPI:
    engine = create_engine(settings.database, "tidemill-api")
    registry = create_registry()
    watch_pool(registry, engine, settings.database)
    mlflow = MlflowRest(settings.mlflow, registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with mlflow, showing_figures(registry, services):
            yield
        await engine.dispose()

    sessions, store = create_session_factory(engine), open_object_store(settings.object_store, registry)
    stores.bind(store, sessions)
    services = ApiServices(
        settings=settings,
        sessions=sessions,
        store=store,
        mlflow=mlflow,
        registry=registry,
    )
    return create_app(services, lifespan)


def main() -> None:
    close_to_others()
    protect_process()
    settings = settings_or_exit()
    configure_logging("api", settings.environment, settings.log_level)
    with tracing("api", settings.environment):
        with told_or_exit():
            app = build(settings)
        config = server_config(app, settings.api.host, settings.api.port, limits_of(settings.http))
        Server(config, settings.edge.drain_seconds).run()
