"""Whether the ledger's disk can be written: after a failure it is tried, so that readiness returns with the space."""

import contextlib
import os
import threading
import time
from pathlib import Path

_PROBE_BYTES = 1 << 16
_EVERY_SECONDS = 1.0
_LEAST_FREE_BYTES = 1 << 20
PROBE_NAME = "probe.part"


class DiskProbe:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._is_failing = False
        self._tried_at = float("-inf")

    def failed(self) -> None:
        """A row could not be written."""
        self._is_failing = True

    def succeeded(self) -> None:
        self._is_failing = False

    def passes(self) -> bool:
        """Whether rows can be written: a failure is over once a file can be, and nearly no space left is one too."""
        with self._lock:
            if self._has_space() and not self._is_failing:
                return True
            if time.monotonic() - self._tried_at >= _EVERY_SECONDS:
                self._tried_at = time.monotonic()
                self._is_failing = not self._try()
            return not self._is_failing

    def _has_space(self) -> bool:
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize >= _LEAST_FREE_BYTES and not found.f_flag & os.ST_RDONLY

    def _try(self) -> bool:
        """Random bytes, which no file system can keep as a hole or compress away."""
        path = self._folder / PROBE_NAME
        try:
            with path.open("wb") as out:
                out.write(os.urandom(_PROBE_BYTES))
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return True
