"""Stacks on real databases and stores, and places for their backups."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.backup.stacks import PLAIN, Databases, MakeStack, Vault, settings_for, stack_with
from tests.s3_servers import s3_settings
from tidemill.adapters.object_store import open_object_store
from tidemill.backup.sealing import new_identity, read_keys
from tidemill.backup.stack import Stack, name_of, with_name
from tidemill.backup.target import BackupTarget
from tidemill.settings.model import BackupSettings, DatabaseSettings, ObjectStoreSettings

_MAKE_TABLES = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(sys.argv[1], "x:/")
"""


@pytest.fixture(scope="session")
def mlflow_template(postgres_url: str) -> str:
    """Name of a database with MLflow's own tables, copied for each test."""
    server = DatabaseSettings.model_validate({"url": postgres_url})
    databases = Databases(postgres_url)
    made = databases.make()
    url = with_name(server, name_of(made)).url.get_secret_value()
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", _MAKE_TABLES, url], check=True, timeout=120, env=environment)
    return name_of(made)


@pytest.fixture
def databases(postgres_url: str) -> Iterator[Databases]:
    made = Databases(postgres_url)
    yield made
    made.drop_all()


@pytest.fixture
def make_stack(databases: Databases, migrated_template: str, mlflow_template: str, tmp_path: Path) -> MakeStack:
    """``make_stack()`` gives a stack without content; ``make_stack(empty=True)`` one without tables either."""

    def make(empty: bool = False, **backup: object) -> Stack:
        tidemill = databases.make(None if empty else migrated_template)
        mlflow = databases.make(None if empty else mlflow_template)
        return stack_with(settings_for(tidemill, tmp_path / name_of(tidemill), **backup), name_of(mlflow))

    return make


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A directory, not encrypted."""
    store = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/backups"))
    return Vault(BackupTarget(store), PLAIN, tmp_path / "scratch")


@pytest.fixture
def sealed_vault(tmp_path: Path) -> Vault:
    """A directory, encrypted."""
    store = open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/sealed-backups"))
    keys = read_keys(BackupSettings.model_validate({"identity": new_identity()[0]}))
    return Vault(BackupTarget(store), keys, tmp_path / "scratch")


@pytest.fixture(params=["directory", "rclone_s3", "minio_s3"])
def any_vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    """A directory or a bucket, encrypted."""
    settings = ObjectStoreSettings(url=f"file://{tmp_path}/any-backups")
    if request.param != "directory":
        settings = s3_settings(request.getfixturevalue(request.param), f"backups-{os.urandom(4).hex()}")
    keys = read_keys(BackupSettings.model_validate({"identity": new_identity()[0]}))
    return Vault(BackupTarget(open_object_store(settings)), keys, tmp_path / "scratch")
