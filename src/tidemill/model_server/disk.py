"""The model server's folder on local disk, and writing that survives a crash."""

import fcntl
import logging
import os
import re
from pathlib import Path
from typing import IO

from tidemill.kit.errors import Conflict
from tidemill.kit.ids import uuid7
from tidemill.kit.limits import MAX_SNAPSHOT_BYTES
from tidemill.kit.own_files import own_folder
from tidemill.kit.trees import remove_tree
from tidemill.model_server.quarantine import Quarantine, ensure_folder, is_plain

log = logging.getLogger(__name__)

_SERVER_ID = re.compile(r"ms_[0-9a-f]{32}")


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
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    sync_directory(path.parent)


class StateDirectory:
    """Where everything of one model server lives. Raises Conflict while another process uses it.

    Whatever lies there in place of ours is moved to the quarantine: a damaged file must not keep a server from serving.
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
        root.chmod(0o700)
        self._lock = self._locked()
        for folder in (self.bundles, self.models):
            ensure_folder(folder, self.quarantine)
            own_folder(folder)
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
        """A small file of this folder; None if it is not there. One that cannot be read is moved aside."""
        if not is_plain(file):
            if file.is_symlink() or file.exists():
                self.quarantine.take(file, "not_a_file")
            return None
        try:
            if file.stat().st_size <= limit_bytes:
                return file.read_bytes()
            self.quarantine.take(file, "too_large")
        except OSError as error:
            self.quarantine.take(file, f"unreadable_{error.errno}")
        return None

    def close(self) -> None:
        self._lock.close()

    def _remove_unfinished(self) -> None:
        """What a crash left of a file that was being written."""
        for part in self.root.glob("*.part"):
            if is_plain(part):
                part.unlink(missing_ok=True)
            else:
                self.quarantine.take(part, "not_a_file")

    def _locked(self) -> IO[str]:
        path = self.root / "lock"
        if (path.exists() or path.is_symlink()) and not is_plain(path):
            self.quarantine.take(path, "not_a_file")
        handle = path.open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise Conflict("state_dir_in_use", "Another model server uses this state directory.") from None
        return handle
