"""Temporary directories of runs, removed when the run ends; those of killed workers are removed by the next one.

Each worker holds a file lock in its own folder. A folder whose lock can be taken has lost its worker.
"""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.kit.own_files import checked_folder, own_folder
from tidemill.kit.trees import remove_tree

_LOCK = "lock"


class ScratchSpace:
    """This worker's folder below ``root``; made by the first run that needs it."""

    def __init__(self, root: Path | None) -> None:
        self._root = root or Path(tempfile.gettempdir()) / f"tidemill-scratch-{os.getuid()}"
        self._own: Path | None = None
        self._lock: int | None = None

    @contextlib.asynccontextmanager
    async def directory(self) -> AsyncIterator[Path]:
        """An empty directory, gone afterwards with everything in it. Its path is short enough for sockets in it."""
        path = Path(tempfile.mkdtemp(prefix="", dir=self._folder()))
        try:
            yield path
        finally:
            await asyncio.to_thread(remove_tree, path)

    def remove_abandoned(self) -> int:
        """Remove the folders of workers that are gone; gives their number. Raises Forbidden if ``root`` is not ours."""
        removed = 0
        for folder in checked_folder(self._root).glob("worker-*") if self._root.is_dir() else ():
            if folder.is_symlink() or not folder.is_dir() or (folder / _LOCK).is_symlink() or (folder / _LOCK).is_dir():
                continue  # no worker made it, so it stays
            lock = None if folder == self._own else _try_lock(folder / _LOCK)
            if lock is not None:
                remove_tree(folder)
                os.close(lock)
                removed += 1
        return removed

    def close(self) -> None:
        if self._own is not None:
            remove_tree(self._own)
        if self._lock is not None:
            os.close(self._lock)
        self._own = self._lock = None

    def _folder(self) -> Path:
        if self._own is None:
            self._root = own_folder(self._root)  # below the temporary directory anybody may have made it
            # Filled under a name that nobody sweeps, so that it is never seen without its lock.
            making = Path(tempfile.mkdtemp(prefix="making-", dir=self._root))
            self._lock = _try_lock(making / _LOCK)
            self._own = making.rename(making.with_name(making.name.replace("making-", "worker-", 1)))
        return self._own


def _try_lock(file: Path) -> int | None:
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
