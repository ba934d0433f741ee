"""What a child uses, seen from outside: what the kernel's own limits cannot say or would say too late."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidemill.kit.disk_room import disk_limit, free_bytes
from tidemill.kit.errors import Invalid, TidemillError, Unavailable
from tidemill.kit.sizes import format_size
from tidemill.kit.trees import SHORT_OF_OUR_OWN, TreeSize, tree_size

_MOST_THREADS = 512
_MOST_FILES = 20_000
_BLOCK_BYTES = 512
_RESERVE_BYTES = 2**29
_DELETED = " (deleted)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bounds:
    """resident_bytes: memory of the process and what it started. written_bytes: what lies in ``folders``, and what it
    keeps open or mapped after deleting it. free_bytes: what must stay free of the disk that they lie on.
    disk_is_short: ``written_bytes`` is less than was asked for, as no more is free."""

    resident_bytes: int
    written_bytes: int
    folders: tuple[Path, ...]
    free_bytes: int = 0
    disk_is_short: bool = False

    @staticmethod
    def of(resident_bytes: int, written_bytes: int, folders: tuple[Path, ...]) -> "Bounds":
        """As much as the disk, as it is now, allows: see `disk_limit`.

        A reserve of it stays free even if a way were found to write unseen. Where little is free to begin with, so
        little is kept that a child which writes nothing is not ended for it.
        """
        reserve = min(_RESERVE_BYTES, free_bytes(folders[0]) // 4)
        limit = disk_limit(folders[0], written_bytes)
        return Bounds(resident_bytes, limit, folders, reserve, disk_is_short=limit < written_bytes)


async def first_excess(process_id: int, bounds: Callable[[], Bounds], poll_seconds: float) -> TidemillError:
    """Why the process must be ended, once it must; looks until then. Whatever keeps it from looking is a reason."""
    try:
        now = bounds()
        while True:
            found = await asyncio.to_thread(excess, process_id, now)
            if found is not None:
                return found
            await asyncio.sleep(poll_seconds)
    except Exception as error:
        log.exception("A process can no longer be watched", extra={"reason": type(error).__name__})
        return _unmeasured()


def excess(process_id: int, bounds: Bounds) -> TidemillError | None:
    """Why the process must be ended; None while it keeps within its bounds or is gone already.

    Where this process is short of descriptors or memory for looking, the next call looks again.
    """
    try:
        return _excess(process_id, bounds)
    except OSError as error:
        if error.errno in SHORT_OF_OUR_OWN:
            return None
        return _unmeasured()


def _unmeasured() -> Unavailable:
    return Unavailable("guard_failed", "The job was ended because what it used could not be measured.")


def _excess(process_id: int, bounds: Bounds) -> TidemillError | None:
    resident, threads = _memory_and_threads(process_id)
    if resident > bounds.resident_bytes:
        limit = format_size(bounds.resident_bytes)
        return Invalid("memory_limit_exceeded", f"The job used more memory than its limit of {limit}.")
    if threads > _MOST_THREADS:
        return Invalid("threads_limit_exceeded", f"The job ran more than {_MOST_THREADS} threads.")
    return _excess_on_disk(_written(process_id, bounds.folders), bounds)


def _excess_on_disk(written: TreeSize, bounds: Bounds) -> TidemillError | None:
    if written.size_bytes > bounds.written_bytes:
        if bounds.disk_is_short:
            return _disk_nearly_full()
        limit = format_size(bounds.written_bytes)
        return Invalid("disk_limit_exceeded", f"The job wrote more to disk than its limit of {limit}.")
    if written.files > _MOST_FILES:
        return Invalid("files_limit_exceeded", f"The job made more than {_MOST_FILES} files.")
    if not written.is_whole:
        return Invalid("files_hidden", "The job made folders too deep or closed, or files that cannot be measured.")
    if any(free_bytes(folder) < bounds.free_bytes for folder in bounds.folders):
        return _disk_nearly_full()
    return None


def _disk_nearly_full() -> Unavailable:
    return Unavailable("disk_nearly_full", "The job was ended because the machine's disk is nearly full.")


def _memory_and_threads(process_id: int) -> tuple[int, int]:
    """Pages that processes share count for each."""
    memory = threads = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(process_id)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                threads += each.num_threads()
                memory += psutil.Process(_living_thread(each.pid)).memory_info().rss
    return memory, threads


def _living_thread(process_id: int) -> int:
    """One that the kernel tells of: once the first thread has ended, it says nothing of the process by its own id,
    though the others run on."""
    with contextlib.suppress(OSError):
        for thread in sorted(Path(f"/proc/{process_id}/task").iterdir(), key=lambda task: int(task.name)):
            with contextlib.suppress(OSError):
                if not (thread / "statm").read_text().startswith("0 "):
                    return int(thread.name)
    return process_id


def _written(process_id: int, folders: tuple[Path, ...]) -> TreeSize:
    found = _deleted(process_id, folders)
    for folder in folders:
        size = tree_size(folder, _MOST_FILES - found.files)
        found.files += size.files
        found.size_bytes += size.size_bytes
        found.is_whole = found.is_whole and size.is_whole
    return found


def _deleted(process_id: int, folders: tuple[Path, ...]) -> TreeSize:
    """Files without a name take room until they are neither open nor mapped."""
    thread = _living_thread(process_id)
    sizes = dict(_open_files(thread))
    is_whole, known = True, {inode for _, inode in sizes}
    for inode, place in _mapped_files(thread, folders):
        if inode not in known:
            known.add(inode)
            try:
                found = place.stat()
            except FileNotFoundError:
                continue  # given back meanwhile
            except OSError:
                is_whole = False  # only the superuser is told how large it is
            else:
                sizes[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK_BYTES
    return TreeSize(len(sizes), sum(sizes.values()), is_whole)


def _open_files(thread: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Device and inode, and size, of those that are deleted."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{thread}/fd").iterdir():
            with contextlib.suppress(OSError):
                found = descriptor.stat()
                if found.st_nlink == 0:
                    yield (found.st_dev, found.st_ino), found.st_blocks * _BLOCK_BYTES


def _mapped_files(thread: int, folders: tuple[Path, ...]) -> Iterator[tuple[int, Path]]:
    """Inode of those of ``folders`` that are deleted, and a place to ask for their size."""
    within = tuple(f"{os.fsdecode(os.path.realpath(folder))}/" for folder in folders)
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{thread}/maps").read_text(errors="surrogateescape").splitlines():
            addresses, _, _, _, inode, *path = line.split(None, 5)
            if path and path[0].endswith(_DELETED) and path[0].startswith(within):
                first, last = (int(address, 16) for address in addresses.split("-"))
                yield int(inode), Path(f"/proc/{thread}/map_files/{first:x}-{last:x}")
