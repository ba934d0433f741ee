"""Copies the object store into a backup: only what no earlier one holds, file by file through local scratch."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tidemill.adapters.object_store import ObjectStore, StoreEntry
from tidemill.backup.index import ObjectIndex
from tidemill.backup.manifest import ObjectLine
from tidemill.backup.references import PASSING
from tidemill.backup.sealing import Keys, sha256_and_size
from tidemill.backup.side_by_side import BATCH, SideBySide
from tidemill.backup.target import BackupTarget, object_key
from tidemill.kit.errors import NotFound
from tidemill.kit.ids import uuid7


@dataclass
class CopyCounts:
    count: int = 0
    size_bytes: int = 0
    copied_count: int = 0
    copied_bytes: int = 0
    vanished_count: int = 0


class ObjectCopier:
    """One pass over a store."""

    def __init__(self, source: ObjectStore, target: BackupTarget, keys: Keys, index: ObjectIndex, folder: Path) -> None:
        self._source = source
        self._target = target
        self._keys = keys
        self._index = index
        self._folder = folder
        self._side_by_side = SideBySide()
        self.counts = CopyCounts()

    async def copy_all(self, list_file: Path) -> CopyCounts:
        """Copy every object and write the list of them. Raises as the two stores do."""
        with gzip.open(list_file, "wt", encoding="utf-8") as out:
            async for batch in _batches(self._source):
                await self._copy_batch(batch, out)
        return self.counts

    async def _copy_batch(self, batch: list[StoreEntry], out: IO[str]) -> None:
        async with asyncio.TaskGroup() as group:
            copies = [group.create_task(self._copy(entry)) for entry in batch]
        for entry, copy in zip(batch, copies, strict=True):
            line = copy.result()
            if line is None:
                continue
            out.write(line.model_dump_json() + "\n")
            self._index.add_lines([line])
            self.counts.count += 1
            self.counts.size_bytes += line.size_bytes
            self._index.mark_seen(entry.key)

    async def _copy(self, entry: StoreEntry) -> ObjectLine | None:
        known = self._index.line_of_key(entry.key)
        same = known is not None and (known.etag, known.size_bytes) == (entry.etag, entry.size_bytes)
        if known is not None and entry.etag is not None and same and self._is_held(known):
            return known
        async with self._side_by_side.room_for(entry.size_bytes):
            return await self._read_and_store(entry)

    async def _read_and_store(self, entry: StoreEntry) -> ObjectLine | None:
        """None for an artifact that was deleted meanwhile, and for an object that is not what its row says."""
        path = self._folder / uuid7().hex
        try:
            await self._source.download(entry.key, path)
            sha256, size_bytes = await asyncio.to_thread(sha256_and_size, path)
            named = self._index.named(entry.key)
            if named is not None and named.sha256 not in (None, sha256):
                return None
            stored_sha256, stored_size = await self._store(path, sha256, size_bytes)
        except NotFound:
            self.counts.vanished_count += 1
            return None
        finally:
            path.unlink(missing_ok=True)
        return ObjectLine(
            key=entry.key,
            etag=entry.etag,
            sha256=sha256,
            size_bytes=size_bytes,
            stored_sha256=stored_sha256,
            stored_size_bytes=stored_size,
        )

    async def _store(self, path: Path, sha256: str, size_bytes: int) -> tuple[str, int]:
        known = self._index.line_of_content(sha256)
        if known is not None and self._is_held(known):
            return known.stored_sha256, known.stored_size_bytes
        sealed = path.with_name(path.name + ".age")
        try:
            return await self._upload(await asyncio.to_thread(self._keys.seal, path, sealed))
        finally:
            sealed.unlink(missing_ok=True)

    async def _upload(self, sealed: Path) -> tuple[str, int]:
        stored_sha256, stored_size = await asyncio.to_thread(sha256_and_size, sealed)
        key = object_key(stored_sha256)
        if self._index.present_size(key) != stored_size:  # else of a backup that broke off: uploads are whole or absent
            await self._target.store.upload(key, sealed)
            self.counts.copied_count += 1
            self.counts.copied_bytes += stored_size
        return stored_sha256, stored_size

    def _is_held(self, line: ObjectLine) -> bool:
        """Whether the target still has the bytes that an earlier backup stored."""
        return self._index.present_size(object_key(line.stored_sha256)) == line.stored_size_bytes


async def _batches(source: ObjectStore) -> AsyncIterator[list[StoreEntry]]:
    batch: list[StoreEntry] = []
    async for entry in source.entries():
        if entry.key.startswith(PASSING):
            continue
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
