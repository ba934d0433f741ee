"""Stacks with something in them, and what a backup of them must bring back."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import text

from tests.integration.ledger_rows import Predicted, add_predictions
from tests.integration.registry.models import register
from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.backup.create import Made, create_backup
from tidemill.backup.restore import Restore, Restored
from tidemill.backup.sealing import Keys
from tidemill.backup.stack import Stack, with_name
from tidemill.backup.target import LATEST, BackupTarget
from tidemill.backup.verify import Checked, verify_backup
from tidemill.db.engine import create_engine, create_session_factory
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.settings.model import BackupSettings, DatabaseSettings, ObjectStoreSettings, Settings

PLAIN = Keys(None, None)
MakeStack = Callable[..., Stack]


def quiet(_text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Filled:
    bundle: str
    holdout: str
    artifact: str


async def fill(stack: Stack, model: str = "loans", content: str = "") -> Filled:
    """A registered model with its objects, predictions in the ledger, and an artifact of MLflow's."""
    engine = create_engine(stack.tidemill, "tests")
    sessions = create_session_factory(engine)
    try:
        bundle, holdout = f"bundle of {model} {content}".encode() * 100, f"holdout of {model} {content}".encode()
        address = sha256_of_bytes(bundle)
        keys = Filled(
            bundle_key(address),
            f"holdouts/{sha256_of_bytes(holdout)}.parquet",
            f"mlflow/1/{model}/artifacts/a note, ä + 50%.txt",
        )
        await stack.store.put(keys.bundle, bundle)
        await stack.store.put(keys.holdout, holdout)
        await stack.store.put(keys.artifact, b"an artifact of MLflow")
        await register(sessions, model, bundle_sha256=address, bundle_size_bytes=len(bundle), holdout_key=keys.holdout)
        outputs = [{"prediction": index / 7} for index in range(5)]
        await add_predictions(sessions, [Predicted(each, model_name=model, deployment=model) for each in outputs])
    finally:
        await engine.dispose()
    return keys


def settings_for(database: DatabaseSettings, objects: Path, **backup: object) -> Settings:
    return Settings(
        environment="local",
        database=database,
        object_store=ObjectStoreSettings(url=f"file://{objects}"),
        backup=BackupSettings.model_validate(backup),
    )


def stack_with(settings: Settings, mlflow: str) -> Stack:
    return Stack(
        settings, settings.database, with_name(settings.database, mlflow), open_object_store(settings.object_store)
    )


class Databases:
    """Databases of one test on the test process's server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def make(self, template: str | None = None) -> DatabaseSettings:
        name = f"backup_{os.getpid()}_{os.urandom(4).hex()}"
        command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self._run(command)
        self._made.append(name)
        return with_name(DatabaseSettings.model_validate({"url": self._url}), name)

    def drop_all(self) -> None:
        for name in self._made:
            self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, command: sql.Composed) -> None:
        with psycopg.connect(self._url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(command)


@dataclass(frozen=True)
class Vault:
    """A place of backups with the keys to it, and scratch."""

    target: BackupTarget
    keys: Keys
    folder: Path

    def scratch(self) -> Path:
        made = self.folder / os.urandom(4).hex()
        made.mkdir(parents=True)
        return made

    async def back_up(self, stack: Stack) -> Made:
        return await create_backup(stack, self.target, self.keys, self.scratch(), quiet)

    async def restore(self, stack: Stack, name: str = LATEST, replace: bool = False) -> Restored:
        manifest = await self.target.manifest(await self.target.resolve(name))
        return await Restore(self.target, manifest, stack, self.keys, self.scratch(), quiet).run(replace)

    async def verify(self, name: str = LATEST, keys: Keys | None = None) -> Checked:
        manifest = await self.target.manifest(await self.target.resolve(name))
        return await verify_backup(self.target, manifest, keys or self.keys, None, self.scratch())


async def objects_of(store: ObjectStore) -> dict[str, bytes]:
    return {entry.key: await store.get(entry.key) async for entry in store.entries()}


async def rows_of(database: DatabaseSettings, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(database, "tests")
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]
    finally:
        await engine.dispose()
