"""What is sent to us may fill a disk, but not to its last byte: databases and ledgers often lie on the same one."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.kit.errors import Unavailable

LOOK_BYTES = 16 * 2**20
"""How much may be written between two looks at the disk."""
_RESERVE_BYTES = 2**29
_RESERVE_SHARE = 20
"""On a small disk the reserve is a twentieth of it."""


async def require_disk_room(folder: Path, more_bytes: int) -> None:
    """Raises Unavailable (``disk_full``) if ``more_bytes`` would take the reserve of the disk of ``folder``.

    A folder that is not there is for others to tell.
    """
    try:
        disk = await asyncio.to_thread(shutil.disk_usage, folder)
    except OSError:
        return
    if disk.free - more_bytes < min(_RESERVE_BYTES, disk.total // _RESERVE_SHARE):
        raise Unavailable("disk_full", "The server's disk has no room for this file beside what it must keep free.")


async def within_disk_room(chunks: AsyncIterator[bytes], folder: Path | None) -> AsyncIterator[bytes]:
    """``chunks`` for as long as the disk of ``folder``, where they are written, has room; None: it is no disk of ours.

    Raises as `require_disk_room`.
    """
    unseen_bytes = LOOK_BYTES  # so that the first look comes before anything is written
    async for chunk in chunks:
        unseen_bytes += len(chunk)
        if folder is not None and unseen_bytes >= LOOK_BYTES:
            unseen_bytes = 0
            await require_disk_room(folder, len(chunk))
        yield chunk


def disk_limit(folder: Path, most_bytes: int) -> int:
    """``most_bytes``, but never more than half of what is free now."""
    return max(1, min(most_bytes, free_bytes(folder) // 2))


def free_bytes(folder: Path) -> int:
    """Of the disk that it lies on; without end for a folder that is gone."""
    try:
        free = os.statvfs(folder)
    except FileNotFoundError:
        return 2**63
    return free.f_bavail * free.f_frsize
