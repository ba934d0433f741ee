"""The model server's folder on local disk, and writing that survives a crash."""

import errno
import fcntl
import logging
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from tidemill.kit.errors import Conflict, Forbidden
from tidemill.kit.ids import uuid7
from tidemill.kit.limits import MAX_SNAPSHOT_BYTES
from tidemill.kit.own_files import own_folder
from tidemill.kit.trees import remove_tree
from tidemill.model_server.quarantine import Quarantine, ensure_folder, is_plain, make_plain, open_plain

log = logging.getLogger(__name__)

_SERVER_ID = re.compile(r"ms_[0-9a-f]{32}")
_UNWRITABLE = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})
_MODE = 0o700


def sync_directory(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """The file holds the old content or the new, whatever happens; durable when this returns."""
    part = path.with_name(path.name + ".part")
    with make_plain(part) as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    sync_directory(path.parent)


class Preparation:
    """Work that a start does on a folder, and that is made up for later where its disk cannot be written then.

    A disk that is full or read-only must not keep a server from starting: it tells that it is not ready, and becomes it
    with the disk. What was prepared once is not again: a folder that vanishes later is no new one, its disk is away.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        """Tries it. Raises whatever ``work`` does but OSError."""
        self._work = work
        self._lock = threading.Lock()
        self.failure: OSError | None = None
        """Why it is not done; None once it is."""
        try:
            work()
        except OSError as error:
            self.failure = error
            log.error("A folder cannot be prepared", extra={"reason": error.errno})  # noqa: TRY400 - the number says it

    def ensure(self) -> None:
        """Do what is not done yet. Raises OSError."""
        with self._lock:
            if self.failure is None:
                return
            try:
                self._work()
            except OSError as error:
                self.failure = error
                raise
            except Forbidden as error:  # what came into its place meanwhile; an operator's affair, as a disk is
                self.failure = OSError(errno.EACCES, error.detail)
                raise self.failure from None
            self.failure = None


class StateDirectory:
    """Where everything of one model server lives. Raises Conflict while another process uses it.

    Whatever lies there in place of ours is moved to the quarantine: a damaged file must not keep a server from serving.
    Nor must a disk that cannot be written: `prepared` makes up later for what a start could not do.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.quarantine = Quarantine(root)
        self.bundles = root / "bundles"
        self.models = root / "models"
        self.ledger = root / "ledger"
        self.temporary = root / "temporary"
        self.snapshot_file = root / "snapshot.json"
        self.serving_file = root / "serving.json"
        ensure_folder(root, Quarantine(root.parent))
        own_folder(root)
        self._locks = _locked(root, self.quarantine)
        try:
            self.prepared = Preparation(self._prepare)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        if stat.S_IMODE(self.root.stat().st_mode) != _MODE:
            self.root.chmod(_MODE)
        for folder in (self.bundles, self.models):
            self._own(folder)
        self._remove_unfinished()
        remove_tree(self.temporary)  # of the models of a server that was killed
        ensure_folder(self.temporary, self.quarantine)

    def server_id(self) -> str:
        """The id of the server that uses this folder, kept over restarts; a new one if it was damaged."""
        file = self.root / "server.id"
        found = self.read(file)
        if found is not None:
            try:
                known = found.decode("ascii").strip()
            except UnicodeDecodeError:
                known = ""
            if _SERVER_ID.fullmatch(known):
                return known
            self.quarantine.take(file, "server_id_unreadable")
        made = f"ms_{uuid7().hex}"
        try:
            write_atomically(file, f"{made}\n".encode())
        except OSError as error:
            log.error("The server's id cannot be kept on disk", extra={"reason": error.errno})  # noqa: TRY400 - the number says it
        return made

    def read(self, file: Path, limit_bytes: int = 2 * MAX_SNAPSHOT_BYTES) -> bytes | None:
        """A small file of this folder; None if it is not there. One that cannot be read goes to the quarantine."""
        if not is_plain(file):
            if file.is_symlink() or file.exists():
                self.quarantine.take(file, "not_a_file")
            return None
        try:
            with open_plain(file) as stream:
                content = stream.read(limit_bytes + 1)
            if len(content) <= limit_bytes:
                return content
            self.quarantine.take(file, "too_large")
        except OSError as error:
            self.quarantine.take(file, f"unreadable_{error.errno}")
        return None

    def close(self) -> None:
        for descriptor in self._locks:
            os.close(descriptor)
        self._locks = []

    def _own(self, folder: Path) -> None:
        """Raises Forbidden for a folder of somebody else, or one that is closed to us and not ours to open."""
        ensure_folder(folder, self.quarantine)
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & _MODE != _MODE:
            folder.chmod(stat.S_IMODE(found.st_mode) | _MODE)
        own_folder(folder)

    def _remove_unfinished(self) -> None:
        """What a crash left of a file that was being written."""
        for part in self.root.glob("*.part"):
            if is_plain(part):
                part.unlink(missing_ok=True)
            else:
                self.quarantine.take(part, "not_a_file")


def _locked(root: Path, quarantine: Quarantine) -> list[int]:
    """Descriptors that hold the lock. Raises Conflict if another process does.

    The folder itself is locked too, where its file system can do that: on a disk that cannot be written there may be no
    lock file, and none can be made.
    """
    held: list[int] = []
    try:
        held.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        _lock(held[-1], needed=False)
        if (file := _opened_lock(root / "lock", quarantine)) is not None:
            held.append(file)
            _lock(file, needed=True)
    except BaseException:
        for descriptor in held:
            os.close(descriptor)
        raise
    return held


def _opened_lock(path: Path, quarantine: Quarantine) -> int | None:
    """None if it is not there and cannot be made."""
    if os.path.lexists(path) and not is_plain(path):
        quarantine.take(path, "not_a_file")
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    writing = os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags
    try:
        return os.open(path, writing, 0o600)
    except PermissionError:  # such as one of root, who ran a server here once; whoever runs holds the folder
        quarantine.take(path, "closed_to_us")
        return os.open(path, writing, 0o600)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
    try:
        return os.open(path, os.O_RDONLY | flags)
    except FileNotFoundError:
        return None


def _lock(descriptor: int, *, needed: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict("state_dir_in_use", "Another model server uses this state directory.") from None
    except OSError:
        if needed:
            raise
