"""Resident memory of this process, which is what a worker ends its children by."""

import ctypes
import sys
from functools import cache
from typing import Any

import psutil
import pyarrow as pa

_MAPPED_BYTES = 4 * 2**20
"""From this size on a block is mapped by itself, so that it goes back to the system when it is freed."""
_M_MMAP_THRESHOLD = -3
"""Of glibc's ``malloc.h``."""


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def use_returning_memory() -> None:
    """Let Arrow and the C library take memory in a way that it can be given back at once.

    Arrow's own allocators return what was freed when they see fit: up to 100 MB a second later, whatever they are told,
    which is by chance too much. Left alone, glibc maps ever larger blocks from a heap that a small one keeps alive.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if (mallopt := _of_c_library("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_back() -> None:
    """Return to the system what Arrow and the C library keep free for later use."""
    pa.default_memory_pool().release_unused()
    if (trim := _of_c_library("malloc_trim")) is not None:
        trim(0)


@cache
def _of_c_library(name: str) -> Any:
    """A function that glibc has; None where the C library has none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
