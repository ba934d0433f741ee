"""`python -m tidemill.sandbox.launch POLICY PARENT_PID MODULE DESCRIPTOR`: confine this process, then run MODULE.

Nothing of the module, of the libraries it imports or of the files it is given has been read when the sandbox closes,
and no thread but this one exists that could stay outside. Ends with 77 where the sandbox cannot be put up.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys

from tidemill.sandbox.confinement import Kernel, confine
from tidemill.sandbox.policy import Policy

REFUSED_EXIT_CODE = 77
_PR_SET_PDEATHSIG = 1
_STANDARD_ERROR = 2
_FIRST_OF_ALL = "1000"


def main() -> None:
    policy, parent, module = Policy.from_json(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _end_with(parent)
    _close_all_but(int(sys.argv[4]))
    _end_before_others()
    try:
        confine(policy, Kernel.probe())
    except OSError as error:
        sys.stderr.write(f"The sandbox could not be put up: {error}\n")
        sys.stderr.flush()
        os._exit(REFUSED_EXIT_CODE)
    sys.argv = [module, *sys.argv[4:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _close_all_but(kept: int) -> None:
    """Whoever started this process may have left more open than it meant to, such as a lock of its own.

    What a descriptor is good for was decided when it was opened: no sandbox takes it back.
    """
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - before anything is imported that could be left out
        if number > _STANDARD_ERROR and number != kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(number)


def _end_before_others() -> None:
    """A machine that runs out of memory ends this process, not PostgreSQL or whoever started it."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - as above
        score.write(_FIRST_OF_ALL)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even by SIGKILL; the sandbox lets nobody take it back."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


if __name__ == "__main__":
    main()
