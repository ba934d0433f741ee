"""The model server's folder on local disk, and writing that survives a crash."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from tidemill.kit.errors import Conflict
from tidemill.kit.ids import uuid7
from tidemill.kit.own_files import own_folder


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
    """Where everything of one model server lives. Raises Conflict while another process uses it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundles = root / "bundles"
        self.models = root / "models"
        self.ledger = root / "ledger"
        self.temporary = root / "temporary"
        self.snapshot_file = root / "snapshot.json"
        self.serving_file = root / "serving.json"
        for folder in (root, self.bundles, self.models):
            own_folder(folder)
        root.chmod(0o700)
        self._lock = self._locked()
        shutil.rmtree(self.temporary, ignore_errors=True)  # of the models of a server that was killed
        self.temporary.mkdir(mode=0o700)

    def server_id(self) -> str:
        """The identity of the server that uses this folder, kept over restarts."""
        file = self.root / "server.id"
        if not file.exists():
            write_atomically(file, f"ms_{uuid7().hex}\n".encode())
        return file.read_text().strip()

    def close(self) -> None:
        self._lock.close()

    def _locked(self) -> IO[str]:
        handle = (self.root / "lock").open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise Conflict("state_dir_in_use", "Another model server uses this state directory.") from None
        return handle
