"""Whether the ledger's disk can be written: after a failure it is tried, so that readiness returns with the space."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tidemill.model_server.quarantine import make_plain

_PROBE_BYTES = 1 << 16
_EVERY_SECONDS = 1.0
_LEAST_FREE_BYTES = 1 << 20
PROBE_NAME = "probe.part"


class DiskProbe:
    """``prepare`` raises OSError while the folder is not what it must be."""

    def __init__(self, folder: Path, prepare: Callable[[], None]) -> None:
        self._folder = folder
        self._prepare = prepare
        self._lock = threading.Lock()
        self._is_failing = False
        self._needed_bytes = 0
        self._tried_at = float("-inf")

    def failed(self, size_bytes: int) -> None:
        """Rows of this size could not be written."""
        self._needed_bytes = max(self._needed_bytes, size_bytes)
        self._is_failing = True

    def succeeded(self, size_bytes: int) -> None:
        """Rows of this size were written. Where larger ones were not, they would still not be."""
        if size_bytes >= self._needed_bytes:
            self._settle()

    def passes(self) -> bool:
        """Whether rows can be written: a failure is over once a file can be and there is room for what failed.

        Nearly no space left is looked into before a row fails.
        """
        with self._lock:
            if not self._is_failing and self._has_space(_LEAST_FREE_BYTES):
                return True
            if time.monotonic() - self._tried_at >= _EVERY_SECONDS:
                self._tried_at = time.monotonic()
                if self._is_prepared() and self._has_space(self._needed_bytes) and self._try():
                    self._settle()
                else:
                    self._is_failing = True
            return not self._is_failing

    def _is_prepared(self) -> bool:
        try:
            self._prepare()
        except OSError:
            return False
        return True

    def _settle(self) -> None:
        self._is_failing, self._needed_bytes = False, 0

    def _has_space(self, size_bytes: int) -> bool:
        """As far as the file system tells; some tell nothing, and what is kept back for root is root's."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return False
        if found.f_flag & os.ST_RDONLY:
            return False
        free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
        return found.f_blocks == 0 or free * found.f_frsize >= size_bytes

    def _try(self) -> bool:
        """Random bytes, which no file system can keep as a hole or compress away."""
        path = self._folder / PROBE_NAME
        try:
            with make_plain(path) as out:
                out.write(os.urandom(_PROBE_BYTES))
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return True
