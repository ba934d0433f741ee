"""Temporary directories of runs, removed when the run ends; those of killed workers are removed by the next one.

Each worker holds a file lock in its own folder. A folder whose lock can be taken has lost its worker. One whose lock
does not hold a worker's mark is not touched.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tidemill.kit.errors import Forbidden, NotFound, TidemillError
from tidemill.kit.own_files import checked_folder, open_own, own_folder
from tidemill.kit.trees import remove_tree

log = logging.getLogger(__name__)

_LOCK = "lock"
_MARK = b"A worker of Tidemill keeps the files of its jobs here.\n"


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
        """Remove the folders of workers that are gone; gives their number. Raises Forbidden if ``root`` is not ours.

        Whatever else is named as they are stays, with a log line: without the mark of a worker it may be anything.
        """
        removed = strays = 0
        for folder in checked_folder(self._root).glob("worker-*") if self._root.is_dir() else ():
            if folder == self._own:
                continue
            if not _is_workers(folder):
                strays += 1
                continue
            lock = _try_lock(folder / _LOCK)
            if lock is not None:
                remove_tree(folder)
                os.close(lock)
                removed += 1
        if strays:
            log.warning("What no worker made stays in the scratch directory", extra={"reason": f"{strays} names"})
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
            self._lock = _make_lock(making / _LOCK)
            self._own = making.rename(making.with_name(making.name.replace("making-", "worker-", 1)))
        return self._own


def _make_lock(file: Path) -> int:
    """A new file with the mark of a worker, locked."""
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.write(descriptor, _MARK)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_workers(folder: Path) -> bool:
    """Whether a worker made ``folder``: a folder itself, of this user, with the mark in it."""
    try:
        info = folder.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            return False
        with os.fdopen(open_own(folder / _LOCK, os.O_RDONLY), "rb") as lock:
            return lock.read(len(_MARK) + 1) == _MARK
    except (OSError, TidemillError):
        return False


def _try_lock(file: Path) -> int | None:
    """None while the worker lives, and when another one has just removed its folder."""
    try:
        descriptor = open_own(file, os.O_RDWR)
    except (NotFound, Forbidden):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
