"""The superuser's powers, given up: they reach past limits, priorities and the reserve of a file system."""

import ctypes
import os

_VERSION = 0x20080522
_THIS_THREAD = 0
_READ_WHAT_ONE_DOES_NOT_OWN = 1 << 2  # CAP_DAC_READ_SEARCH; CAP_DAC_OVERRIDE writes as well
"""Kept: the libraries may lie in somebody's private folder, and Landlock says which paths are read at all."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("thread", ctypes.c_int32))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def give_up() -> None:
    """For this thread and all that it starts; no program can give them back once new privileges are forbidden.

    Raises OSError if the kernel refuses.
    """
    library = ctypes.CDLL(None, use_errno=True)
    header, words = _Header(_VERSION, _THIS_THREAD), (_Word * 2)()
    _check(library.capget(ctypes.byref(header), words))
    kept = words[0].permitted & _READ_WHAT_ONE_DOES_NOT_OWN
    words[0], words[1] = _Word(kept, kept, 0), _Word(0, 0, 0)
    _check(library.capset(ctypes.byref(header), words))


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capabilities could not be given up ({os.strerror(code)})")
