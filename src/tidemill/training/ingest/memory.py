"""Resident memory of this process, which is what a worker ends its children by."""

import ctypes
import sys
from functools import cache
from typing import Any

import psutil
import pyarrow as pa


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Return to the system what Arrow and the C library keep free for later use."""
    pa.default_memory_pool().release_unused()
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    """glibc's ``malloc_trim``; None where the C library has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
