"""What the data plane asks of a runtime."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidemill.model_server.validation import Columns


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """Plain lists, one entry per row. probabilities: per row in the order of ``classes``."""

    prediction: list[Any]
    probabilities: list[list[float]] | None
    classes: tuple[Any, ...] | None


class Runtime(Protocol):
    """One loaded model."""

    async def predict(self, columns: Columns, params: Mapping[str, Any] | None) -> ModelOutputs:
        """Predict every row. Raises Invalid if the model refuses, Unavailable when overloaded, DeadlineExceeded."""

    async def close(self) -> None:
        """Free the model. Nothing is asked of it any more."""
