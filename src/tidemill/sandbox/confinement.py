"""Puts a policy into force on the process that calls it, and says how far this machine can."""

import contextlib
import ctypes
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidemill.sandbox import capabilities, landlock, processes, seccomp
from tidemill.sandbox.policy import Limits, Policy

Level = Literal["full", "partial", "none"]
_PR_SET_DUMPABLE = 4
_FURTHER_THREADS = 4096


@dataclass(frozen=True)
class Kernel:
    """What it offers. landlock_abi: 0 for none."""

    landlock_abi: int
    has_seccomp: bool

    @staticmethod
    def probe() -> "Kernel":
        if sys.platform != "linux":
            return Kernel(0, False)
        return Kernel(landlock.abi_version(), seccomp.is_available())

    @property
    def level(self) -> Level:
        """full: all that `docs/sandbox.md` promises holds; partial: some of it; none: limits of resources only."""
        if self.landlock_abi >= landlock.ABI_OF_SCOPES and self.has_seccomp:
            return "full"
        return "partial" if self.landlock_abi or self.has_seccomp else "none"

    @property
    def lacks(self) -> str:
        """In words, for people; empty where nothing is missing."""
        wanted = landlock.ABI_OF_SCOPES
        missing = [] if self.landlock_abi >= wanted else [f"Landlock ABI {wanted} (Linux 6.12); here {self._abi}"]
        return ", ".join(missing + ([] if self.has_seccomp else ["seccomp"]))

    @property
    def _abi(self) -> str:
        return str(self.landlock_abi) if self.landlock_abi else "none"


def confine(policy: Policy, kernel: Kernel) -> None:
    """Irrevocably, for this process and all that it starts. Must be called while it has one thread.

    Raises OSError where the kernel has what the policy needs and refuses it, or where it has not and the policy is
    strict: the caller must then end.
    """
    if not _has_one_thread():
        raise OSError("other threads would stay outside the sandbox")
    if policy.strict and kernel.level != "full":
        raise OSError(f"the sandbox needs {kernel.lacks}")
    _limit(policy.limits)
    if sys.platform == "linux":
        landlock.forbid_new_privileges()
        capabilities.give_up()
    if kernel.landlock_abi:
        landlock.restrict(policy, kernel.landlock_abi)
    if kernel.has_seccomp:
        seccomp.install(policy.network)
        processes.refuse()


def protect_process() -> None:
    """Keep memory and environment of this process from others of the same user, and from core dumps.

    Children that are started by a program of their own are not touched by it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limit(limits: Limits) -> None:
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_DATA, limits.data_bytes),
        (resource.RLIMIT_AS, limits.address_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_NPROC, _most_threads()),
    ]
    for kind, most in wanted:
        if most is None:
            continue
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError) if sys.platform != "linux" else contextlib.nullcontext():
            resource.setrlimit(kind, (allowed, allowed))


def _most_threads() -> int | None:
    """Of this user, as the kernel counts them: those of the whole machine and some more, so that a burst between two
    looks of the guard stays small and no one else's threads use the limit up. The superuser is not held to it."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2]) + _FURTHER_THREADS
    except (OSError, IndexError, ValueError):
        return None


def _has_one_thread() -> bool:
    """False also where that cannot be told."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return sys.platform != "linux"
