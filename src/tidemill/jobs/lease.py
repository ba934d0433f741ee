"""How long a run may believe that it is the present one.

The worker renews a run's lease with every heartbeat that the database took. The lease ends before another worker may
take the job over, and its end is a moment on a clock that parent and child share and that goes on while a machine
sleeps. So a child of a frozen worker stops writing by itself, whether or not anybody can reach it.
"""

import time
from collections.abc import Callable

_SHARE_OF_STALLED_TIME = 0.8


def lease_clock() -> float:
    """Seconds on a clock shared by all processes of this machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    def __init__(self, stalled_after_seconds: float, asked_at: float) -> None:
        self._seconds = stalled_after_seconds * _SHARE_OF_STALLED_TIME
        self._listeners: list[Callable[[float], None]] = []
        self.ends = asked_at + self._seconds

    @property
    def expired(self) -> bool:
        return lease_clock() >= self.ends

    def renew(self, asked_at: float) -> None:
        """Count from ``asked_at``, the moment before the heartbeat was sent."""
        self.ends = asked_at + self._seconds
        for listener in self._listeners:
            listener(self.ends)

    def listen(self, listener: Callable[[float], None]) -> None:
        self._listeners.append(listener)

    def forget(self, listener: Callable[[float], None]) -> None:
        self._listeners.remove(listener)
