"""What a child uses, seen from outside: what the kernel's own limits cannot say or would say too late."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidemill.kit.errors import Invalid
from tidemill.kit.sizes import format_size

_MOST_THREADS = 512
_MOST_FILES = 20_000
_BLOCK_BYTES = 512


@dataclass(frozen=True)
class Bounds:
    """resident_bytes: memory of the process and what it started. written_bytes: what lies in ``folders``, and what it
    keeps open after deleting it."""

    resident_bytes: int
    written_bytes: int
    folders: tuple[Path, ...]


def excess(process_id: int, bounds: Bounds) -> Invalid | None:
    """Why the process must be ended; None while it keeps within its bounds or is gone already."""
    resident, threads = _memory_and_threads(process_id)
    if resident > bounds.resident_bytes:
        limit = format_size(bounds.resident_bytes)
        return Invalid("memory_limit_exceeded", f"The job used more memory than its limit of {limit}.")
    if threads > _MOST_THREADS:
        return Invalid("threads_limit_exceeded", f"The job ran more than {_MOST_THREADS} threads.")
    files, written = _written(process_id, bounds.folders)
    if written > bounds.written_bytes:
        limit = format_size(bounds.written_bytes)
        return Invalid("disk_limit_exceeded", f"The job wrote more to disk than its limit of {limit}.")
    if files > _MOST_FILES:
        return Invalid("files_limit_exceeded", f"The job made more than {_MOST_FILES} files.")
    return None


def disk_limit(folder: Path, most_bytes: int) -> int:
    """``most_bytes``, but never more than half of what is free now."""
    free = os.statvfs(folder)
    return max(1, min(most_bytes, free.f_bavail * free.f_frsize // 2))


def _memory_and_threads(process_id: int) -> tuple[int, int]:
    """Pages that processes share count for each."""
    memory = threads = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(process_id)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory += each.memory_info().rss
                threads += each.num_threads()
    return memory, threads


def _written(process_id: int, folders: Iterable[Path]) -> tuple[int, int]:
    files, size = 0, _deleted_bytes(process_id)
    waiting = [str(folder) for folder in folders]
    while waiting and files <= _MOST_FILES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    return files, size


def _deleted_bytes(process_id: int) -> int:
    """Files without a name take room until they are closed."""
    total = 0
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
            with contextlib.suppress(OSError):
                found = descriptor.stat()
                total += found.st_blocks * _BLOCK_BYTES if found.st_nlink == 0 else 0
    return total
