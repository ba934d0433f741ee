"""Which backups are kept, and removing the others with the objects that only they named."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill.adapters.object_store import StoreEntry
from tidemill.backup.index import ObjectIndex, read_lines
from tidemill.backup.sealing import Keys
from tidemill.backup.target import BackupTarget, backup_of, found_file, object_key
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Invalid, NotFound
from tidemill.settings.model import BackupSettings

_GRACE = timedelta(days=1)
_AT_ONCE = 500
_NO_KEYS = Keys(None, None)


def moment_of(backup_id: str) -> datetime:
    """When the backup was begun, to the second (UTC): the first part of its id. Raises ValueError for another text."""
    return datetime.strptime(backup_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def to_keep(ids: Sequence[str], settings: BackupSettings) -> set[str]:
    """The newest ``keep_last``, and the last one of each of the newest ``keep_days`` days and ``keep_weeks`` weeks."""
    newest_first = sorted(ids, reverse=True)
    kept = set(newest_first[: settings.keep_last])
    for limit, pattern in ((settings.keep_days, "%Y-%m-%d"), (settings.keep_weeks, "%G-%V")):
        last_of: dict[str, str] = {}
        for backup_id in newest_first:
            last_of.setdefault(moment_of(backup_id).strftime(pattern), backup_id)
        kept.update(list(last_of.values())[:limit])
    return kept


async def prune(target: BackupTarget, settings: BackupSettings, folder: Path) -> list[str]:
    """Remove what is not to be kept; the ids of the backups that went.

    Manifests go first, so that whatever breaks off leaves no backup that lacks something. Objects and broken-off
    backups younger than a day stay: they may belong to one under way. While a kept backup is damaged, nobody knows
    which objects it needs, so all of them stay.
    """
    ids = await target.ids()
    kept = to_keep(ids, settings)
    gone = [backup_id for backup_id in ids if backup_id not in kept]
    for backup_id in gone:
        await target.remove_manifest(backup_id)
    before = utc_now() - _GRACE
    await _delete(target, await _leftovers(target, kept, set(gone), before))
    if gone:
        with contextlib.suppress(Invalid, NotFound):
            await _delete(target, await _unnamed_objects(target, kept, before, folder))
    return gone


async def _leftovers(target: BackupTarget, kept: set[str], gone: set[str], before: datetime) -> list[str]:
    """Files of the removed backups, and old ones of backups that were never finished."""
    keys = []
    async for entry in target.files():
        backup_id = backup_of(entry.key)
        if backup_id in gone or (backup_id not in kept and entry.modified_at < before):
            keys.append(entry.key)
    return keys


async def _unnamed_objects(target: BackupTarget, kept: set[str], before: datetime, folder: Path) -> list[str]:
    index = ObjectIndex(folder / "prune.sqlite")
    try:
        for backup_id in sorted(kept):
            await _add_lines(target, backup_id, index, folder)
        return [entry.key async for entry in target.objects() if _is_unnamed(index, entry, before)]
    finally:
        index.close()


async def _add_lines(target: BackupTarget, backup_id: str, index: ObjectIndex, folder: Path) -> None:
    manifest = await target.manifest(backup_id)
    path = folder / "prune-list"
    await target.fetch(found_file(manifest, manifest.objects.list), path, _NO_KEYS)
    index.add_kept(object_key(line.stored_sha256) for line in read_lines(path))


def _is_unnamed(index: ObjectIndex, entry: StoreEntry, before: datetime) -> bool:
    return entry.modified_at < before and not index.is_kept(entry.key)


async def _delete(target: BackupTarget, keys: list[str]) -> None:
    for start in range(0, len(keys), _AT_ONCE):
        await target.store.delete(keys[start : start + _AT_ONCE])
