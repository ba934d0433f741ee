"""Where `tidemill up` keeps what, below its data directory."""

import fcntl
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tidemill.kit.errors import Forbidden, NotFound
from tidemill.kit.own_files import QUARANTINE, open_own, own_folder

_LONGEST_SOCKET_PATH = 90  # the kernel allows 107 bytes, PostgreSQL adds "/.s.PGSQL.5432"


@dataclass(frozen=True)
class Layout:
    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def processes(self) -> Path:
        """Locked by every process of the platform; see `tidemill.platform.leftovers`."""
        return self.root / "processes.lock"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def postgres_new(self) -> Path:
        """Where a first start makes PostgreSQL's folder, until it is whole."""
        return self.root / "postgres.new"

    @property
    def sockets(self) -> Path:
        """PostgreSQL's socket directory; elsewhere when the data directory's path is too long for a socket."""
        inside = self.root / "run"
        if len(str(inside)) <= _LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tidemill-{digest}"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def model_server(self) -> Path:
        return self.root / "model-server"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def admin_key(self) -> Path:
        return self.root / "admin.key"

    @property
    def serving_key(self) -> Path:
        return self.root / "serving.key"

    @property
    def mlflow_token(self) -> Path:
        return self.root / "mlflow.token"

    @property
    def quarantine(self) -> Path:
        """Files of ours that were not what they should be, kept for whoever looks."""
        return self.root / QUARANTINE

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    def remove_addresses(self) -> None:
        """Raises Forbidden for a folder in the place of the file."""
        if self.addresses.is_dir() and not self.addresses.is_symlink():
            raise Forbidden("path_unusable", f"{self.addresses} must be a file and is a folder; move it away.")
        self.addresses.unlink(missing_ok=True)

    def is_in_use(self) -> bool:
        """Whether a platform, or a command that stands in for it, holds the lock at this moment."""
        try:
            with os.fdopen(open_own(self.lock, os.O_RDONLY)) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except NotFound:
            return False
        except BlockingIOError:
            return True
        return False

    def create(self) -> None:
        """Every folder but PostgreSQL's. Raises Forbidden if one is there that somebody else made."""
        for folder in (self.root, self.objects, self.model_server, self.scratch, self.logs):
            own_folder(folder)
