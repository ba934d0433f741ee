"""What a computing child may tell its worker."""

from pathlib import Path
from typing import Any, Protocol


class Reporter(Protocol):
    """Handed to a compute function. Calls return at once; nothing here blocks on the worker."""

    @property
    def scratch(self) -> Path:
        """An empty directory of this run, removed afterwards."""

    @property
    def cpu_threads(self) -> int:
        """Threads this child may use."""

    @property
    def memory_limit_bytes(self) -> int:
        """Resident memory above which the child is ended."""

    def progress(
        self, stage: str, done: float = 0, total: float | None = None, message: str = "",
        best: float | None = None, metric: str | None = None,
    ) -> None:  # fmt: skip
        """Where the work stands."""

    def log(self, level: str, message: str) -> None:
        """One line for ``tidemill job logs``."""

    def event(self, **fields: Any) -> None:
        """A JSON object for the task's ``on_event``."""

    def check(self) -> None:
        """Raise if the job was cancelled or overtaken. Call it before writing to Optuna or MLflow."""
