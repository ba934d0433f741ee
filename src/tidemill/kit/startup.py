"""A start that does not look for garbage.

Libraries and models are hundreds of thousands of objects that stay. Python looks through all of them again and again
while they come, which finds nothing and takes a sixth of a model server's start, and once more whenever it looks later.
"""

import gc


def begin() -> None:
    """From here on everything is kept. Call `done` once what is to stay is loaded."""
    gc.disable()


def done() -> None:
    """Look for garbage again, but among later objects alone. Does nothing without `begin`."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
