"""Reading a backup back, and checking that a live store has everything that rows name."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tidemill.adapters.object_store import ObjectStore
from tidemill.adapters.store_mark import MARK
from tidemill.backup import dumps
from tidemill.backup.failures import explained
from tidemill.backup.golden import read_sample
from tidemill.backup.index import ObjectIndex, read_lines
from tidemill.backup.manifest import Manifest, ObjectLine, StoredFile
from tidemill.backup.references import NamedObject, named_objects
from tidemill.backup.sealing import Keys
from tidemill.backup.side_by_side import SIDE_BY_SIDE, batches
from tidemill.backup.stack import Stack
from tidemill.backup.target import BackupTarget, Found, found_file, found_object
from tidemill.db.engine import SessionFactory, create_session_factory
from tidemill.features.stores import service as stores
from tidemill.kit.errors import Invalid, NotFound, Unavailable

MAX_FINDINGS = 1000
_NO_KEYS = Keys(None, None)
Wrong = Literal["missing", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be."""

    what: str
    """The object's key or the file's name."""
    wrong: Wrong


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong: the first thousand findings and their number."""

    checked_count: int
    checked_bytes: int
    findings: list[Finding]
    finding_count: int
    unsealed: bool = True
    """Whether what is encrypted was decrypted too."""

    @property
    def ok(self) -> bool:
        return self.finding_count == 0


class _Tally:
    def __init__(self) -> None:
        self.count = self.size_bytes = self.wrong_count = 0
        self.findings: list[Finding] = []

    def looked_at(self, what: str, size_bytes: int, wrong: Wrong | None) -> None:
        self.count += 1
        self.size_bytes += size_bytes
        if wrong is not None:
            self.wrong_count += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(Finding(what, wrong))

    def result(self) -> Checked:
        return Checked(self.count, self.size_bytes, self.findings, self.wrong_count)


async def verify_backup(
    target: BackupTarget, manifest: Manifest, keys: Keys, programs: Path | None, folder: Path
) -> Checked:
    """Read every file and object of a backup and compare it with its SHA-256.

    With the identity (or without encryption) everything is unsealed too and the dumps are opened; else what lies there
    is compared with what was stored. Raises as the store does when it is away.
    """
    with explained():
        return await _verify(_Verification(target, manifest, keys, programs, folder, _Tally()))


async def require_whole(
    target: BackupTarget, manifest: Manifest, keys: Keys, programs: Path | None, folder: Path
) -> None:
    """Read every file and object of a backup, as `verify_backup` does, before anything is restored from it.

    Raises Invalid naming the first that is missing or damaged. What the store had lost before the backup is not in it.
    """
    check = _Verification(target, manifest, keys, programs, folder, _Tally())
    with explained():
        await _read_all(check)
    if check.tally.findings:
        first, more = check.tally.findings[0], check.tally.wrong_count - 1
        said = f"{first.what} is {first.wrong}" + (f", and so are {more} more" if more else "")
        raise Invalid(
            "backup_damaged",
            f"Backup {manifest.id}: {said}. Nothing was restored; `tidemill admin verify` names all that is wrong.",
        )


async def _read_all(check: "_Verification") -> None:
    for file in check.manifest.files:
        check.tally.looked_at(file.name, file.size_bytes, await check.file(file))
    listed = check.folder / check.manifest.objects.list.name
    if listed.exists():
        try:
            await check.objects(listed)
        except Invalid:  # it is what was stored, and no list
            check.tally.looked_at(listed.name, 0, "unreadable")


async def _verify(check: "_Verification") -> Checked:
    manifest = check.manifest
    for name in manifest.missing:
        check.tally.looked_at(name, 0, "missing")
    check.tally.wrong_count += manifest.missing_count - len(manifest.missing)
    await _read_all(check)
    return replace(check.tally.result(), unsealed=check.can_unseal)


@dataclass(frozen=True)
class _Verification:
    target: BackupTarget
    manifest: Manifest
    keys: Keys
    programs: Path | None
    folder: Path
    tally: _Tally

    @property
    def can_unseal(self) -> bool:
        return self.manifest.recipient is None or self.keys.identity is not None

    async def file(self, file: StoredFile) -> Wrong | None:
        found = found_file(self.manifest, file)
        path = self.folder / file.name
        if found.recipient is not None and not self.can_unseal:
            return await self._as_stored(found)
        try:
            await self.target.fetch(found, path, self.keys)
            await self._require_readable(path, file)
        except NotFound:
            return "missing"
        except Invalid:
            return "damaged"
        except Unavailable as error:
            if error.code != "postgres_client_failed":
                raise
            return "unreadable"
        finally:
            if file != self.manifest.objects.list:
                path.unlink(missing_ok=True)
        return None

    async def _require_readable(self, path: Path, file: StoredFile) -> None:
        """Raises Unavailable for a dump, and Invalid for a sample, that cannot be read."""
        if file in (dump.file for dump in self.manifest.databases):
            await dumps.check_readable(path, self.programs)
        elif file == self.manifest.golden.file:
            await asyncio.to_thread(_exhaust, read_sample(path))

    async def objects(self, listed: Path) -> None:
        limit = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(line: ObjectLine) -> None:
            async with limit:
                self.tally.looked_at(line.key, line.size_bytes, await self._object(line))

        for batch in batches(read_lines(listed)):
            async with asyncio.TaskGroup() as group:
                for line in batch:
                    group.create_task(one(line))

    async def _object(self, line: ObjectLine) -> Wrong | None:
        """What lies there is compared as stored: age authenticates, so the same bytes unseal to the same object."""
        return await self._as_stored(found_object(self.manifest, line))

    async def _as_stored(self, found: Found) -> Wrong | None:
        return await _read(self.target.store, found.key, found.stored_sha256)


def _exhaust(groups: Iterator[object]) -> None:
    for _ in groups:
        pass


async def check_store(stack: Stack, folder: Path, read: bool) -> Checked:
    """Whether every object that a row names exists in the live store with its size; with ``read`` also its SHA-256.

    The mark is looked at too, but keeps nothing from being checked: so a store is looked at before it is adopted.
    """
    with explained():
        return await _check_store(stack, folder, read)


async def _check_store(stack: Stack, folder: Path, read: bool) -> Checked:
    index, tally = ObjectIndex(folder / "check.sqlite"), _Tally()
    try:
        async with stack.engine() as engine:
            async with engine.connect() as connection:
                await index.add_named(named_objects(connection))
            await _look_at_mark(stack.store, create_session_factory(engine), tally)
        await index.add_present(stack.store.entries())
        for named in index.all_named():
            present = index.present_size(named.key)
            wrong = _difference(named, present)
            if wrong is None and read and named.sha256 is not None:
                wrong = await _read(stack.store, named.key, named.sha256)
            tally.looked_at(named.key, present or 0, wrong)
    finally:
        index.close()
    return tally.result()


async def _look_at_mark(store: ObjectStore, sessions: SessionFactory, tally: _Tally) -> None:
    """The mark is as good as an object: without it the platform uses no store."""
    identity = await stores.known_identity(sessions)
    if identity is not None:
        found = await store.mark()
        wrong: Wrong | None = "missing" if found is None else None if found == identity else "damaged"
        tally.looked_at(MARK, 0, wrong)


def _difference(named: NamedObject, present: int | None) -> Wrong | None:
    if present is None:
        return "missing"
    return "damaged" if named.size_bytes not in (None, present) else None


async def _read(store: ObjectStore, key: str, sha256: str) -> Wrong | None:
    try:
        return None if await store.sha256(key) == sha256 else "damaged"
    except NotFound:
        return "missing"
