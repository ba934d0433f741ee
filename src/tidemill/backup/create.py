"""Making a backup.

First a snapshot of the platform's database is dumped, and the objects that its rows name are written down from the same
snapshot; then MLflow's database, which by then knows every run that the first dump names; then the objects. Bytes are
always written before the row that names them, and collectors are held off, so every named object is still there.
The manifest comes last.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill import __version__
from tidemill.backup import dumps, golden
from tidemill.backup.copying import ObjectCopier
from tidemill.backup.failures import explained
from tidemill.backup.golden import GoldenCount
from tidemill.backup.index import ObjectIndex, read_lines
from tidemill.backup.manifest import (
    MAX_MISSING_NAMED,
    DatabaseDump,
    GoldenSummary,
    Manifest,
    ObjectsSummary,
    StoredFile,
    Versions,
)
from tidemill.backup.references import named_objects
from tidemill.backup.retention import prune
from tidemill.backup.sealing import Keys
from tidemill.backup.stack import Stack, opened
from tidemill.backup.target import BackupTarget, found_file
from tidemill.db import locks
from tidemill.db.engine import create_session_factory
from tidemill.db.locks import HeldLock
from tidemill.features.stores import service as stores
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, NotFound, Unavailable

_WAIT_FOR_COLLECTORS_SECONDS = 300
_POLL_SECONDS = 0.5
_NO_KEYS = Keys(None, None)
Say = Callable[[str], None]
"""Told what is being done, for people."""


@dataclass(frozen=True)
class Made:
    manifest: Manifest
    pruned: list[str]
    """Ids of older backups that are not kept any longer."""


@dataclass(frozen=True)
class _Dumped:
    created_at: datetime
    revision: str | None
    postgresql: str
    golden: GoldenCount


async def create_backup(stack: Stack, target: BackupTarget, keys: Keys, folder: Path, say: Say) -> Made:
    """Back the stack up; ``folder`` is empty scratch.

    Raises Conflict when a backup runs already or the target belongs to another environment, Unavailable when a store,
    a database or the disk fails, or the store is not the database's; then there is no new backup.
    """
    with explained():
        async with stack.engine() as engine, _alone(engine) as lock:
            # Of the mount point of a disk that is away it would be a backup of nothing, and thin out the good ones.
            await stores.bind_if_known(stack.store, create_session_factory(engine))
            return await _create(_Backup(stack, target, keys, folder, _new_id(), say), engine, lock)


async def _create(backup: "_Backup", engine: AsyncEngine, lock: HeldLock) -> Made:
    manifest = await backup.make(engine)
    if not await lock.is_held():
        raise Unavailable("backup_lock_lost", "The database was away, so objects may have been deleted meanwhile.")
    await backup.target.write_manifest(manifest)
    backup.say("thinning out")
    return Made(manifest, await prune(backup.target, backup.stack.settings.backup, backup.folder))


def _new_id() -> str:
    """Sorts by time: the microseconds come first in what follows the second."""
    now = utc_now()
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(1)[0]}"


@contextlib.asynccontextmanager
async def one_at_a_time(engine: AsyncEngine) -> AsyncIterator[None]:
    """Hold the lock of backups, restores and drills. Raises Conflict when one is under way."""
    async with locks.try_lock(create_session_factory(engine), locks.BACKUP) as mine:
        if mine is None:
            raise Conflict("backup_running", "A backup, restore or drill of this stack is running.")
        yield


@contextlib.asynccontextmanager
async def _alone(engine: AsyncEngine) -> AsyncIterator[HeldLock]:
    async with one_at_a_time(engine), contextlib.AsyncExitStack() as stack:
        deadline = asyncio.get_running_loop().time() + _WAIT_FOR_COLLECTORS_SECONDS
        while True:
            lock = locks.try_lock(create_session_factory(engine), locks.DELETING_OBJECTS)
            held = await stack.enter_async_context(lock)
            if held is not None:
                yield held
                return
            await stack.aclose()
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("collectors_busy", "Objects are being deleted; try again later.")
            await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class _Backup:
    stack: Stack
    target: BackupTarget
    keys: Keys
    folder: Path
    id: str
    say: Say

    async def make(self, engine: AsyncEngine) -> Manifest:
        index = ObjectIndex(self.folder / "index.sqlite")
        try:
            await self._load_newest(index)
            self.say("dumping the databases")
            dumped = await self._dump_platform(engine, index)
            databases = [
                DatabaseDump(
                    name="tidemill", schema_revision=dumped.revision, file=await self._put("tidemill.dump", self.keys)
                ),
                await self._dump_mlflow(),
            ]
            sample = await self._put("golden.ndjson", self.keys)
            self.say("copying objects")
            objects = await self._copy_objects(index)
            missing_count, missing = index.unseen(MAX_MISSING_NAMED)
        finally:
            index.close()
        return Manifest(
            id=self.id,
            environment=self.stack.settings.environment,
            created_at=dumped.created_at,
            finished_at=utc_now(),
            versions=Versions(tidemill=__version__, mlflow=metadata.version("mlflow"), postgresql=dumped.postgresql),
            recipient=self.keys.recipient_text,
            databases=databases,
            objects=objects,
            golden=GoldenSummary(file=sample, rows=dumped.golden.rows, versions=dumped.golden.versions),
            missing=missing,
            missing_count=missing_count,
        )

    async def _load_newest(self, index: ObjectIndex) -> None:
        """What the newest backup holds need not be copied again, if it was made for the same recipient.

        A damaged one is passed over: it must not keep the next one from being made.
        """
        await index.add_present(self.target.objects())
        for backup_id in reversed(await self.target.ids()):
            try:
                await self._load(await self.target.manifest(backup_id), index)
            except (Invalid, NotFound):
                self.say(f"passing over backup {backup_id}, which is damaged")
            else:
                return

    async def _load(self, newest: Manifest, index: ObjectIndex) -> None:
        if newest.environment != self.stack.settings.environment:
            raise Conflict(
                "backup_target_foreign",
                f"The target holds backups of the environment {newest.environment}; each needs a place of its own.",
            )
        if newest.recipient == self.keys.recipient_text:
            path = self.folder / "newest-list"
            await self.target.fetch(found_file(newest, newest.objects.list), path, _NO_KEYS)
            index.add_lines(read_lines(path))

    async def _dump_platform(self, engine: AsyncEngine, index: ObjectIndex) -> _Dumped:
        backup = self.stack.settings.backup
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="REPEATABLE READ")
            snapshot = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
            created_at = utc_now()
            await index.add_named(named_objects(connection))
            dumped = _Dumped(
                created_at=created_at,
                revision=await dumps.revision_of(connection),
                postgresql=(await connection.execute(text("SHOW server_version"))).scalar_one(),
                golden=await golden.write_sample(connection, backup.golden_rows, self.folder / "golden.ndjson"),
            )
            await dumps.dump(self.stack.tidemill, self.folder / "tidemill.dump", backup.programs_dir, snapshot)
        return dumped

    async def _dump_mlflow(self) -> DatabaseDump:
        await dumps.dump(self.stack.mlflow, self.folder / "mlflow.dump", self.stack.settings.backup.programs_dir)
        async with opened(self.stack.mlflow) as engine, engine.connect() as connection:
            revision = await dumps.revision_of(connection)
        return DatabaseDump(name="mlflow", schema_revision=revision, file=await self._put("mlflow.dump", self.keys))

    async def _copy_objects(self, index: ObjectIndex) -> ObjectsSummary:
        copier = ObjectCopier(self.stack.store, self.target, self.keys, index, self.folder)
        counts = await copier.copy_all(self.folder / "objects.ndjson.gz")
        return ObjectsSummary(list=await self._put("objects.ndjson.gz", _NO_KEYS), **vars(counts))

    async def _put(self, name: str, keys: Keys) -> StoredFile:
        path = self.folder / name
        stored = await self.target.put_file(self.id, path, keys)
        path.unlink()
        return stored
