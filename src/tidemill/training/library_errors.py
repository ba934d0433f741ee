"""Failures of learning libraries on data that they cannot take, told as such."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from lightgbm.basic import LightGBMError

from tidemill.kit.errors import Invalid
from tidemill.kit.reporter import Reporter

FIT_ERRORS = (ValueError, ArithmeticError, MemoryError, np.linalg.LinAlgError, LightGBMError)
"""What learning libraries raise about data."""
_LIBRARIES = ("sklearn", "lightgbm", "optuna", "scipy", "matplotlib")


@contextmanager
def library_errors(step: str, reporter: Reporter | None = None) -> Iterator[None]:
    """Raise Invalid (``learning_failed``) naming the ``step`` and the library where one of them failed in it.

    What our own code raises stays as it is. The places of the failure go to the job's log, without its message, which
    may hold values.
    """
    try:
        yield
    except FIT_ERRORS as error:
        library = _library_of(error)
        if isinstance(error, MemoryError) or library is None:
            raise
        if reporter is not None:
            reporter.log("error", "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
        detail = (
            f"{library} cannot learn from these rows ({type(error).__name__}, while {step}). The job's log tells "
            "where; leave out the columns whose values are unusual."
        )
        raise Invalid("learning_failed", detail) from error


def _library_of(error: BaseException) -> str | None:
    """The library that our code called last before the error was raised; None where our own code raised it."""
    modules = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    ours = max((place for place, module in enumerate(modules) if module == "tidemill"), default=-1)
    return next((module for module in modules[ours + 1 :] if module in _LIBRARIES), None)
