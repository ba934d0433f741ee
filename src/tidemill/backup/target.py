"""Where backups lie: a directory or an S3 location.

``backups/<id>/`` holds a backup's own files, its ``manifest.json`` written last: without it there is no backup.
``objects/<first two digits>/<sha256>`` holds the objects' bytes, once for all backups that name them.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tidemill.adapters.object_store import ObjectStore, StoreEntry, open_object_store
from tidemill.backup.manifest import Manifest, ObjectLine, StoredFile, decode_manifest, encode_manifest
from tidemill.backup.sealing import Keys, sha256_and_size
from tidemill.kit.errors import Invalid, NotFound
from tidemill.settings.model import BackupSettings

LATEST = "latest"
BACKUPS = "backups/"
OBJECTS = "objects/"
_MANIFEST = "manifest.json"


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
        keys = [entry.key async for entry in self.store.entries(BACKUPS)]
        return sorted(key.split("/")[1] for key in keys if key.endswith("/" + _MANIFEST) and key.count("/") == 2)

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
        manifest = decode_manifest(await self.store.get(file_key(backup_id, _MANIFEST)))
        if manifest.id != backup_id:
            raise Invalid("manifest_damaged", "The manifest is that of another backup.")
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
        """Bring a stored file to ``path``, unsealed and with the hashes it must have. Raises NotFound or Invalid."""
        stored = path.with_name(path.name + ".stored")
        try:
            await self.store.download(found.key, stored)
            await _expect(stored, found.stored_sha256, found.key)
            await asyncio.to_thread(keys.unseal, stored, path, found.recipient)
            await _expect(path, found.sha256, found.key)
        finally:
            stored.unlink(missing_ok=True)

    async def stored_sha256(self, key: str) -> str:
        """Of what lies at ``key``, read to its end. Raises NotFound."""
        digest = hashlib.sha256()
        async for chunk in self.store.stream(key):
            digest.update(chunk)
        return digest.hexdigest()

    def objects(self) -> AsyncIterator[StoreEntry]:
        """The bytes of all objects of all backups."""
        return self.store.entries(OBJECTS)


def file_key(backup_id: str, name: str) -> str:
    return f"{BACKUPS}{backup_id}/{name}"


def object_key(stored_sha256: str) -> str:
    """Addressed by the bytes as they are stored, so that nothing is ever overwritten with something else."""
    return f"{OBJECTS}{stored_sha256[:2]}/{stored_sha256}"


def found_object(manifest: Manifest, line: ObjectLine) -> Found:
    return Found(object_key(line.stored_sha256), line.sha256, line.stored_sha256, manifest.recipient)


def found_file(manifest: Manifest, file: StoredFile) -> Found:
    """One of a backup's own files. The list of objects is readable, so that pruning needs no key."""
    recipient = None if file == manifest.objects.list else manifest.recipient
    return Found(file_key(manifest.id, file.name), file.sha256, file.stored_sha256, recipient)


def open_target(settings: BackupSettings) -> BackupTarget:
    """Raises Invalid when no place is set."""
    if not settings.url:
        raise Invalid("backup_url_missing", "Say where backups lie: --to, --at, or TIDEMILL_BACKUP__URL.")
    return BackupTarget(open_object_store(settings))


async def _expect(path: Path, sha256: str, key: str) -> None:
    if (await asyncio.to_thread(sha256_and_size, path))[0] != sha256:
        raise Invalid("backup_damaged", f"{key} does not have the SHA-256 that the manifest names.")
