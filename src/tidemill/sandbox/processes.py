"""Refuses, within Python, what the kernel refuses anyway: to start processes.

Whoever tries it forks in the end, and libraries prepare for a fork before the kernel is asked: OpenBLAS stops its
threads, and a thread that just waits for their part of a product waits for ever. So nobody is let as far as that.
"""

import errno
import importlib
import os
import sys
from typing import Any, NoReturn

_FORKING = ((os, "fork"), (os, "forkpty"))
_STARTER = "_posixsubprocess"
"""What `subprocess`, `multiprocessing` and the libraries that stand on them start processes by."""


def refuse() -> None:
    """From now on each of them raises PermissionError, which callers know from the kernel. For the whole process."""
    for module, name in _FORKING:
        setattr(module, name, _refused)
    starter: Any = importlib.import_module(_STARTER)
    starter.fork_exec = _refused
    if "subprocess" in sys.modules:
        setattr(sys.modules["subprocess"], "_fork_exec", _refused)  # noqa: B010 - private, so unknown to types


def _refused(*_arguments: object, **_named: object) -> NoReturn:
    raise PermissionError(errno.EPERM, "A confined process starts no other one")
