"""Small real file systems, to be filled up: what a full disk does cannot be told from what a fake one says."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.programs import left_out

_MOUNT_SECONDS = 60
_CHUNK_BYTES = 4096


class SmallDisk:
    """A file system in memory below ``path``, which everybody may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all space but ``leave_bytes``."""
        with self._filler.open("ab", buffering=0) as filler:
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(_CHUNK_BYTES))
            filler.truncate(max(0, filler.tell() - leave_bytes))

    def make_read_only(self, is_read_only: bool = True) -> None:
        """As the kernel does with a disk that fails. Nothing on it may be open for writing."""
        options = f"remount,{'ro' if is_read_only else 'rw'}"
        subprocess.run(["mount", "-o", options, self.path], check=True, timeout=_MOUNT_SECONDS)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink()


@contextlib.contextmanager
def small_disk(size_bytes: int, most_files: int | None = None) -> Iterator[SmallDisk]:
    """Leaves the test out where nothing can be mounted. ``most_files``: and folders, that it can hold."""
    folder = Path(tempfile.mkdtemp(prefix="tidemill-small-disk-"))
    options = f"size={size_bytes},mode=0755" + (f",nr_inodes={most_files}" if most_files else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, timeout=_MOUNT_SECONDS, check=False).returncode != 0:
        folder.rmdir()
        left_out("no right to mount a small file system", "run as root, outside of a container")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: a server that is on its way out may hold a file there, and the mount must not outlive the tests.
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=_MOUNT_SECONDS)
        folder.rmdir()
