"""Where backups lie: a directory or an S3 location.

``backups/<id>/`` holds a backup's own files, its ``manifest.json`` written last: without it there is no backup.
``objects/<first two digits>/<sha256>`` holds the objects' bytes, once for all backups that name them.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tidemill.adapters.object_store import ObjectStore, StoreEntry, open_object_store, overlap
from tidemill.backup.manifest import Manifest, ObjectLine, StoredFile, decode_manifest, encode_manifest
from tidemill.backup.sealing import Keys, sha256_and_size
from tidemill.kit.errors import Invalid, NotFound
from tidemill.settings.model import BackupSettings, Settings

LATEST = "latest"
BACKUPS = "backups/"
OBJECTS = "objects/"
_MANIFEST = "manifest.json"
_MOST_MANIFEST_BYTES = 16 * 2**20
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_OBJECT_KEY = re.compile(OBJECTS + r"[0-9a-f]{2}/[0-9a-f]{64}")


@dataclass(frozen=True)
class Found:
    """Where a file lies and what it must be."""

    key: str
    sha256: str
    stored_sha256: str
    recipient: str | None


class BackupTarget:
    """A place of backups. Raises as its object store does."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    async def ids(self) -> list[str]:
        """Of all backups that are whole, oldest first."""
        found = [entry.key async for entry in self.files() if entry.key.endswith("/" + _MANIFEST)]
        return sorted(backup_of(key) for key in found)

    async def resolve(self, name: str) -> str:
        """The id that ``name``, an id or ``latest``, means. Raises NotFound."""
        ids = await self.ids()
        if name == LATEST and ids:
            return ids[-1]
        if name not in ids:
            raise NotFound("backup_not_found", "There is no such backup." if ids else "There is no backup yet.")
        return name

    async def manifest(self, backup_id: str) -> Manifest:
        """Raises NotFound, and Invalid when it is damaged."""
        key = file_key(backup_id, _MANIFEST)
        if await self.store.size(key) > _MOST_MANIFEST_BYTES:
            raise Invalid("manifest_damaged", f"{key}: The manifest is larger than any.")
        try:
            manifest = decode_manifest(await self.store.get(key))
        except Invalid as error:
            raise Invalid(error.code, f"{key}: {error.detail}") from None
        if manifest.id != backup_id:
            raise Invalid("manifest_damaged", f"{key}: The manifest is that of another backup.")
        return manifest

    async def write_manifest(self, manifest: Manifest) -> None:
        """The last step: from here on it is a backup."""
        await self.store.put(file_key(manifest.id, _MANIFEST), encode_manifest(manifest))

    async def remove_manifest(self, backup_id: str) -> None:
        """From here on it is none any more."""
        await self.store.delete([file_key(backup_id, _MANIFEST)])

    async def put_file(self, backup_id: str, path: Path, keys: Keys) -> StoredFile:
        """Seal and store one of a backup's own files; ``Keys(None, None)`` leaves it readable."""
        sha256, size_bytes = await asyncio.to_thread(sha256_and_size, path)
        sealed = await asyncio.to_thread(keys.seal, path, path.with_name(path.name + ".age"))
        stored = await self.store.upload(file_key(backup_id, path.name), sealed)
        if sealed != path:
            sealed.unlink()
        return StoredFile(
            name=path.name,
            sha256=sha256,
            size_bytes=size_bytes,
            stored_sha256=stored.sha256,
            stored_size_bytes=stored.size_bytes,
        )

    async def fetch(self, found: Found, path: Path, keys: Keys) -> None:
        """Bring a stored file to ``path``, unsealed and with the hashes it must have.

        Raises NotFound or Invalid naming it, and leaves nothing at ``path`` then.
        """
        stored = path.with_name(path.name + ".stored")
        try:
            await self.store.download(found.key, stored)
            await _expect(stored, found.stored_sha256)
            await asyncio.to_thread(keys.unseal, stored, path, found.recipient)
            await _expect(path, found.sha256)
        except (NotFound, Invalid) as error:
            path.unlink(missing_ok=True)
            if isinstance(error, NotFound):
                raise NotFound("backup_file_missing", f"{found.key} of the backup is missing.") from None
            raise Invalid(error.code, f"{found.key}: {error.detail}") from None
        finally:
            stored.unlink(missing_ok=True)

    async def files(self) -> AsyncIterator[StoreEntry]:
        """What belongs to single backups, whole or broken off; nothing that somebody else put beside them."""
        async for entry in self.store.entries(BACKUPS):
            if entry.key.count("/") == 2 and _is_id(backup_of(entry.key)):
                yield entry

    async def objects(self) -> AsyncIterator[StoreEntry]:
        """The bytes of all objects of all backups; nothing that somebody else put beside them."""
        async for entry in self.store.entries(OBJECTS):
            if _OBJECT_KEY.fullmatch(entry.key):
                yield entry


def _is_id(text: str) -> bool:
    """The first part of an id is a moment, by which backups are sorted and thinned out."""
    try:
        datetime.strptime(text.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return _ID.fullmatch(text) is not None


def file_key(backup_id: str, name: str) -> str:
    return f"{BACKUPS}{backup_id}/{name}"


def backup_of(key: str) -> str:
    """Id of the backup that a file belongs to."""
    return key.split("/")[1]


def object_key(stored_sha256: str) -> str:
    """Addressed by the bytes as they are stored, so that nothing is ever overwritten with something else."""
    return f"{OBJECTS}{stored_sha256[:2]}/{stored_sha256}"


def found_object(manifest: Manifest, line: ObjectLine) -> Found:
    return Found(object_key(line.stored_sha256), line.sha256, line.stored_sha256, manifest.recipient)


def found_file(manifest: Manifest, file: StoredFile) -> Found:
    """One of a backup's own files. The list of objects is readable, so that pruning needs no key."""
    recipient = None if file == manifest.objects.list else manifest.recipient
    return Found(file_key(manifest.id, file.name), file.sha256, file.stored_sha256, recipient)


def refuse_overlap(settings: Settings) -> None:
    """Raises Invalid when backups would lie in their own object store or around it, and be taken for objects."""
    if overlap(settings.backup, settings.object_store):
        raise Invalid(
            "backup_place_overlaps", "Backups need a place apart from the object store, not in it or around it."
        )


def open_target(settings: BackupSettings) -> BackupTarget:
    """Raises Invalid when no place is set."""
    if not settings.url:
        raise Invalid("backup_url_missing", "Say where backups lie: --to, --at, or TIDEMILL_BACKUP__URL.")
    return BackupTarget(open_object_store(settings))


async def _expect(path: Path, sha256: str) -> None:
    if (await asyncio.to_thread(sha256_and_size, path))[0] != sha256:
        raise Invalid("backup_damaged", "It does not have the SHA-256 that the manifest names.")
