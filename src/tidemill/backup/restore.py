"""Restoring a backup into an empty stack.

Objects come first, then MLflow's database, then the platform's; each database in one transaction. A mark in both
databases says that a restore is under way, so that one that broke off can be run again.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import delete, update

from tidemill.backup import dumps
from tidemill.backup.create import Say, one_at_a_time
from tidemill.backup.database import RestoreDatabase, restore_database
from tidemill.backup.failures import explained
from tidemill.backup.index import ObjectIndex, read_lines
from tidemill.backup.manifest import Manifest, ObjectLine
from tidemill.backup.references import PASSING
from tidemill.backup.sealing import Keys, sha256_and_size
from tidemill.backup.side_by_side import SideBySide, batches
from tidemill.backup.stack import Stack, as_role, opened
from tidemill.backup.target import BackupTarget, found_file, found_object
from tidemill.backup.verify import require_whole
from tidemill.db.engine import create_session_factory
from tidemill.db.migrate import alembic_config, migrate
from tidemill.db.tables.keys import ApiKey
from tidemill.db.tables.sessions import Session
from tidemill.features.stores import service as stores
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, Invalid, Refused, Unavailable
from tidemill.kit.ids import uuid7
from tidemill.settings.model import DatabaseSettings

_UPGRADE_TIMEOUT_SECONDS = 1800
_NO_KEYS = Keys(None, None)


@dataclass(frozen=True)
class Restored:
    objects: int
    """Written now; those that lay there already, of a restore that broke off, are not counted."""
    size_bytes: int
    migrated: bool
    """Whether the backup was older than this version of Tidemill."""


@dataclass(frozen=True)
class Restore:
    """One restore: from where, into what, with which keys and ``folder`` as empty scratch."""

    target: BackupTarget
    manifest: Manifest
    stack: Stack
    keys: Keys
    folder: Path
    say: Say

    async def run(self, replace: bool) -> Restored:
        """Restore everything, once every byte of the backup was read and is whole.

        With ``replace`` what the databases hold is lost and other objects stay beside.

        Raises Refused for a stack that is not empty or in use, a backup that is newer or cannot be decrypted; Invalid
        for a damaged one; Unavailable when a store or database fails. After a failure it can be run again.
        """
        self.keys.require(self.manifest.recipient)
        migrates = refuse_newer(self.manifest)
        with explained():
            return await self._run(replace, migrates)

    async def _run(self, replace: bool, migrates: bool) -> Restored:
        async with AsyncExitStack() as open_things:
            tidemill = await open_things.enter_async_context(restore_database("tidemill", self.stack.tidemill))
            mlflow = await open_things.enter_async_context(restore_database("mlflow", self.stack.mlflow))
            engine = await open_things.enter_async_context(self.stack.engine())
            await open_things.enter_async_context(one_at_a_time(engine))
            listed = await self._fetch_list()
            await self._refuse_unless_free([tidemill, mlflow], listed, replace)
            await self._require_whole()
            return await self._restore(tidemill, mlflow, listed, migrates)

    async def _restore(
        self, tidemill: RestoreDatabase, mlflow: RestoreDatabase, listed: Path, migrates: bool
    ) -> Restored:
        for database in (tidemill, mlflow):
            await database.mark()
        self.say("restoring objects")
        count, size_bytes = await self._objects(listed)
        self.say("restoring the databases")
        await self._database(mlflow, self.stack.mlflow)
        await self._database(tidemill, self.stack.tidemill)
        self.say("migrating" if migrates else "checking the schemas")
        await asyncio.to_thread(migrate, as_role(self.stack.tidemill, tidemill.owner))
        if _release(self.manifest.versions.mlflow) < _release(metadata.version("mlflow")):
            await _upgrade_mlflow(as_role(self.stack.mlflow, mlflow.owner))
        await self._end_foreign_access(as_role(self.stack.tidemill, tidemill.owner))
        async with self.stack.engine() as engine:
            await stores.renew(create_session_factory(engine), self.stack.store)
        for database in (mlflow, tidemill):
            await database.unmark()
        return Restored(count, size_bytes, migrates)

    async def _end_foreign_access(self, database: DatabaseSettings) -> None:
        """Keys and sessions belong to the environment that they were made in: elsewhere none of them may hold."""
        if self.manifest.environment == self.stack.settings.environment:
            return
        self.say(f"revoking the keys of {self.manifest.environment}")
        async with opened(database) as engine, engine.begin() as connection:
            await connection.execute(update(ApiKey).where(ApiKey.revoked_at.is_(None)).values(revoked_at=utc_now()))
            await connection.execute(delete(Session))

    async def _fetch_list(self) -> Path:
        path = self.folder / self.manifest.objects.list.name
        await self.target.fetch(found_file(self.manifest, self.manifest.objects.list), path, _NO_KEYS)
        return path

    async def _require_whole(self) -> None:
        """Before anything is changed: half a backup in the place of a stack helps nobody."""
        self.say("verifying the backup")
        folder = self.folder / "verifying"
        folder.mkdir()
        programs = self.stack.settings.backup.programs_dir
        await require_whole(self.target, self.manifest, self.keys, programs, folder)

    async def _refuse_unless_free(self, databases: Sequence[RestoreDatabase], listed: Path, replace: bool) -> None:
        for database in databases:
            if others := await database.others():
                raise Conflict(
                    "stack_in_use",
                    f"{others} other connections use the database of {database.name}; stop its processes first.",
                )
            table = None if replace or await database.is_marked() else await database.content()
            if table is not None:
                raise Refused(
                    "stack_not_empty",
                    f"The database of {database.name} is not empty: {table} has rows. --replace restores all the same.",
                )
        if not replace:
            await self._refuse_foreign_objects(listed, under_way=await databases[0].is_marked())

    async def _refuse_foreign_objects(self, listed: Path, under_way: bool) -> None:
        """Objects of this very backup may lie there: of a restore that broke off, or since the bucket outlived.

        A store without any of them that is marked is another platform's, which has not stored anything yet.
        """
        holds_some = False
        index = ObjectIndex(self.folder / "listed.sqlite")
        try:
            index.add_kept(line.key for line in read_lines(listed))
            async for entry in self.stack.store.entries():
                if not entry.key.startswith(PASSING) and not index.is_kept(entry.key):
                    raise Refused(
                        "store_not_empty",
                        "The object store holds objects that the backup does not know. --replace restores beside them.",
                    )
                holds_some = holds_some or not entry.key.startswith(PASSING)
            if not holds_some and not under_way and await self._is_marked_by_another():
                raise Refused("store_marked", "The object store is another platform's. --replace takes it from that.")
        finally:
            index.close()

    async def _is_marked_by_another(self) -> bool:
        mark = await self.stack.store.mark()
        async with self.stack.engine() as engine:
            known = await stores.known_identity(create_session_factory(engine))
        return mark not in (None, known)

    async def _objects(self, listed: Path) -> tuple[int, int]:
        present = ObjectIndex(self.folder / "present.sqlite")
        try:
            await present.add_present(self.stack.store.entries())
            return await _ObjectWriter(self, present).write_all(listed)
        finally:
            present.close()

    async def _database(self, database: RestoreDatabase, settings: DatabaseSettings) -> None:
        dump = self.manifest.dump_of(database.name)
        path = self.folder / dump.file.name
        await self.target.fetch(found_file(self.manifest, dump.file), path, self.keys)
        await database.empty()
        await dumps.restore(settings, path, self.stack.settings.backup.programs_dir, database.owner)
        path.unlink()


class _ObjectWriter:
    def __init__(self, restore: Restore, present: ObjectIndex) -> None:
        self._restore = restore
        self._present = present
        self._side_by_side = SideBySide()
        self._count = self._size_bytes = 0

    async def write_all(self, listed: Path) -> tuple[int, int]:
        """How many objects were written, and their bytes."""
        for batch in batches(read_lines(listed)):
            async with asyncio.TaskGroup() as group:
                for line in batch:
                    group.create_task(self._write(line))
        return self._count, self._size_bytes

    async def _write(self, line: ObjectLine) -> None:
        async with self._side_by_side.room_for(line.size_bytes):
            await self._fetch_and_put(line)

    async def _fetch_and_put(self, line: ObjectLine) -> None:
        restore, path = self._restore, self._restore.folder / uuid7().hex
        try:
            if self._present.present_size(line.key) == line.size_bytes:
                await restore.stack.store.download(line.key, path)
                if (await asyncio.to_thread(sha256_and_size, path))[0] == line.sha256:
                    return
            await restore.target.fetch(found_object(restore.manifest, line), path, restore.keys)
            await restore.stack.store.upload(line.key, path)
            self._count += 1
            self._size_bytes += line.size_bytes
        finally:
            path.unlink(missing_ok=True)


def refuse_newer(manifest: Manifest) -> bool:
    """Whether the backup's schema is older than ours. Raises Refused for one that this version cannot read."""
    scripts = ScriptDirectory.from_config(alembic_config())
    revision = manifest.dump_of("tidemill").schema_revision
    if revision is None:
        raise Invalid("backup_without_schema", "The backup holds a database without tables.")
    try:
        known = scripts.get_revision(revision)
    except CommandError:
        known = None
    newer_mlflow = _release(manifest.versions.mlflow) > _release(metadata.version("mlflow"))
    if known is None or newer_mlflow:
        versions = f"Tidemill {manifest.versions.tidemill} and MLflow {manifest.versions.mlflow}"
        raise Refused("backup_newer", f"The backup was made by {versions}; restore it with these or newer ones.")
    return revision != scripts.get_current_head()


def _release(version: str) -> tuple[int, int]:
    """Major and minor: MLflow changes its schema with these."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


async def _upgrade_mlflow(database: DatabaseSettings) -> None:
    """MLflow's own migrations, in a process of its own since it takes seconds and half a gigabyte to import."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tidemill.platform.mlflow_server", "--migrate",
        env={**inherited, "TIDEMILL_MLFLOW__DATABASE_URL": database.url.get_secret_value()},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_UPGRADE_TIMEOUT_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Unavailable("mlflow_upgrade_failed", "MLflow could not bring its restored database to its version.")
