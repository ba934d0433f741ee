"""`python -m tidemill.sandbox.launch POLICY PARENT_PID MODULE [ARGUMENT ...]`: confine this process, then run MODULE.

Nothing of the module, of the libraries it imports or of the files it is given has been read when the sandbox closes,
and no thread but this one exists that could stay outside. Ends with 77 where the sandbox cannot be put up.
"""

import ctypes
import os
import runpy
import signal
import sys

from tidemill.sandbox.confinement import Kernel, confine
from tidemill.sandbox.policy import Policy

REFUSED_EXIT_CODE = 77
_PR_SET_PDEATHSIG = 1


def main() -> None:
    policy, parent, module = Policy.from_json(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _end_with(parent)
    try:
        confine(policy, Kernel.probe())
    except OSError as error:
        sys.stderr.write(f"The sandbox could not be put up: {error}\n")
        sys.stderr.flush()
        os._exit(REFUSED_EXIT_CODE)
    sys.argv = [module, *sys.argv[4:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even by SIGKILL; the sandbox lets nobody take it back."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


if __name__ == "__main__":
    main()
