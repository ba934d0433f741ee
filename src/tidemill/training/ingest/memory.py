"""Resident memory of this process, which is what a worker ends its children by."""

import ctypes
import sys
from functools import cache
from typing import Any

import psutil
import pyarrow as pa

_LEAST_MAPPED_BYTES, _MOST_MAPPED_BYTES = 4 * 2**20, 32 * 2**20
"""From a size between these on, a block is mapped by itself, so that freeing it gives it back; glibc takes no more."""
_M_MMAP_THRESHOLD = -3
"""Of glibc's ``malloc.h``."""


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def use_returning_memory(free_bytes: int) -> None:
    """Let Arrow and the C library take memory in a way that it can be given back at once.

    Arrow's own allocators return what was freed when they see fit: up to 100 MB a second later, whatever they are told,
    which is by chance too much. Left alone, glibc takes ever larger blocks from a heap that a small one keeps alive;
    mapping them costs time instead, so the more of ``free_bytes`` there is, the fewer are.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if (mallopt := _of_c_library("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, max(_LEAST_MAPPED_BYTES, min(_MOST_MAPPED_BYTES, free_bytes // 40)))


def give_back() -> None:
    """Return to the system what Arrow and the C library keep free for later use."""
    pa.default_memory_pool().release_unused()
    if (trim := _of_c_library("malloc_trim")) is not None:
        trim(0)


@cache
def _of_c_library(name: str) -> Any:
    """A function that glibc has; None where the C library has none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
