"""What a job's child runs: the ingest in a process that never loads pandas.

Arrow looks for pandas the first time it is given a list, imports it where it is installed, and never looks again.
Nothing here makes data frames, and without them the process is a third smaller.
"""

import sys
from typing import Any

import pyarrow as pa

from tidemill.kit.reporter import Reporter
from tidemill.training.ingest import entry


def normalise(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """As `entry.normalise`, for a process that does nothing else."""
    _leave_pandas_out()
    return entry.normalise(request, reporter)


class _NoPandas:
    """Answers to the search for pandas that there is none."""

    @staticmethod
    def find_spec(name: str, _path: Any = None, _target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _leave_pandas_out() -> None:
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)
