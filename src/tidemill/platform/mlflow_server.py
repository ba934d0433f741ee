"""MLflow's tracking server in one process: `python -m tidemill.platform.mlflow_server`.

The ``mlflow server`` command keeps a second copy of MLflow in memory (280 MB) only to watch the first; here the
platform's supervisor does that. Everything comes from the settings (``TIDEMILL_MLFLOW__...``,
``TIDEMILL_OBJECT_STORE__...``), except by which names it may be called: MLflow reads ``MLFLOW_SERVER_ALLOWED_HOSTS``
when it is imported. With ``--migrate`` it only brings MLflow's database to the schema of this version. MLflow's
assistant, which runs shell commands for whoever reaches it from the same machine, is closed, and so is what has the
object store sign addresses; everything but its health wants a key (`tidemill.platform.mlflow_access`).
"""

import argparse
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.server import constants, handlers
from mlflow.store.db import utils as mlflow_database
from sqlalchemy import create_engine, text
from starlette.routing import Mount, Router

from tidemill.adapters.store_mark import MARK
from tidemill.kit.errors import Invalid
from tidemill.kit.logging import configure_logging
from tidemill.kit.own_files import close_to_others, own_folder
from tidemill.platform.mlflow_access import AccessRules, MlflowAccessMiddleware
from tidemill.platform.mlflow_artifacts import keep_within
from tidemill.platform.mlflow_bodies import MlflowBodyMiddleware
from tidemill.platform.mlflow_store import MlflowStoreMiddleware
from tidemill.settings.model import ObjectStoreSettings, Settings
from tidemill.settings.sources import settings_or_exit, told_or_exit
from tidemill.web.connections import ConnectionLimits
from tidemill.web.last_answer import LastAnswerMiddleware
from tidemill.web.server import Server, limits_of, server_config

_database: Any = mlflow_database  # untyped; what MLflow's own command line calls has no other name
_handlers: Any = handlers
_SIGNED = ("MultipartDownloadMixin", "MultipartUploadMixin", "PresignedUploadMixin")
"""The kinds of artifact store for which MLflow's routes would sign addresses."""
_ROOT = "mlflow-artifacts:/"
_MIGRATION_LOCK = 7236433
_LOCK_TIMEOUT = "120s"
_ASSISTANT = "/ajax-api/3.0/mlflow/assistant"


@dataclass(frozen=True)
class MlflowServer:
    """Where the server keeps what, and where it listens."""

    database_url: str
    artifacts: str
    host: str
    port: int
    access: AccessRules
    limits: ConnectionLimits
    store_folder: Path | None
    """The object store's own folder, where it is one."""
    max_artifact_bytes: int

    def run(self) -> None:
        """Serve until a signal says stop."""
        os.environ.update(
            {
                constants.BACKEND_STORE_URI_ENV_VAR: self.database_url,
                constants.ARTIFACT_ROOT_ENV_VAR: _ROOT,
                constants.ARTIFACTS_DESTINATION_ENV_VAR: self.artifacts,
                constants.SERVE_ARTIFACTS_ENV_VAR: "true",
            }
        )
        sign_no_addresses()
        keep_within(self.artifacts)
        _handlers.initialize_backend_stores(self.database_url, self.database_url, _ROOT)
        # Flask dates its files itself, and two dates are one too many for Nginx.
        within = MlflowStoreMiddleware(_application(), self.store_folder)
        bounded = MlflowBodyMiddleware(within, self.max_artifact_bytes, self.store_folder)
        app = MlflowAccessMiddleware(bounded, self.access)
        Server(server_config(LastAnswerMiddleware(app), self.host, self.port, self.limits, dates_itself=True)).run()


def _application() -> Any:
    """MLflow's, which reads its settings from the environment when it is imported, without its assistant."""
    app = importlib.import_module("mlflow.server.fastapi_app").app
    app.router.routes.insert(0, Mount(_ASSISTANT, app=Router()))
    return app


def sign_no_addresses() -> None:
    """Every artifact passes through MLflow: an address that an object store was made to sign outlives the key it was
    got with, and reaches past who may ask.

    MLflow signs where the store is of one of these kinds; to its routes none is, so that they answer 501, and what it
    tells its clients about itself (``server-info``) makes them ask for the artifact itself.
    """
    for kind in _SIGNED:
        getattr(_handlers, kind)  # a version that decides by other names must not start unnoticed
        setattr(_handlers, kind, _OfNoStore)


class _OfNoStore:
    """No artifact store is of this kind."""


def artifacts_below(store_url: str) -> str:
    """MLflow's artifacts live in the platform's object store, under their own prefix."""
    if store_url.startswith("file://"):
        root = Path(store_url.removeprefix("file://")).absolute()
        folder = root / "mlflow"
        if (root / MARK).exists() or folder.is_symlink() or folder.exists():
            own_folder(folder)  # else MLflow makes it: nothing is put into the mount point of a disk that is away
        return f"file://{folder}"
    return store_url.rstrip("/") + "/mlflow"


def store_environment(settings: ObjectStoreSettings) -> dict[str, str]:
    """The object store as MLflow's S3 client is told of it."""
    secrets = {"AWS_ACCESS_KEY_ID": settings.access_key_id, "AWS_SECRET_ACCESS_KEY": settings.secret_access_key}
    environment = {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
    if settings.endpoint is not None:
        # S3 servers other than AWS do not all know the newer checksums.
        environment |= {
            "MLFLOW_S3_ENDPOINT_URL": settings.endpoint,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
    return environment | {"AWS_DEFAULT_REGION": settings.region}


def of_settings(settings: Settings) -> MlflowServer:
    """Raises Invalid if MLflow's database is not named, or the token of the platform's own processes."""
    own = settings.mlflow
    if own.token is None or not own.token.get_secret_value():
        raise Invalid("setting_missing", "The MLflow server needs the token of its own platform: MLFLOW__TOKEN.")
    access = AccessRules(own.token.get_secret_value(), own.api_url, settings.environment)
    url = settings.object_store.url
    folder = Path(url.removeprefix("file://")) if url.startswith("file://") else None
    limits = limits_of(settings.http)
    return MlflowServer(
        database_url=database_of(settings),
        artifacts=artifacts_below(url),
        host=own.host,
        port=own.port,
        access=access,
        limits=limits,
        store_folder=folder,
        max_artifact_bytes=own.max_artifact_bytes,
    )


def database_of(settings: Settings) -> str:
    """Address of MLflow's database. Raises Invalid if it is not named."""
    if settings.mlflow.database_url is None:
        raise Invalid("setting_missing", "The MLflow server needs its database: MLFLOW__DATABASE_URL.")
    return settings.mlflow.database_url.get_secret_value()


def migrate(database_url: str) -> None:
    """Bring MLflow's database to the schema of the installed MLflow. The way back is a backup, which comes first."""
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            if _database._is_empty_database(engine):  # noqa: SLF001
                _database._initialize_tables(engine)  # noqa: SLF001
            else:
                _database._upgrade_db(engine)  # noqa: SLF001
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--migrate", action="store_true", help="only migrate the database, then end")
    options = parser.parse_args()
    close_to_others()
    settings = settings_or_exit()
    configure_logging("mlflow", settings.environment, settings.log_level)
    if options.migrate:
        migrate(database_of(settings))  # knows no object store, and must not make a folder for one
        return
    with told_or_exit():
        server = of_settings(settings)
    os.environ.update(store_environment(settings.object_store))
    server.run()


if __name__ == "__main__":
    main()
