"""What the data plane asks of a runtime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidemill.model_server.validation import Columns

VALUES_ON_THE_LOOP = 20_000
"""More are looked at, recorded and written out beside the event loop."""
_CHARACTERS_ON_THE_LOOP = 2**18
_CONTAINERS = frozenset({dict, list})
"""May hold any number of values."""
Claim = Callable[[int], None]
"""Claims so many bytes of memory for the request; raises TooLarge or Unavailable if there are none."""


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """Plain lists, one entry per row. probabilities: per row in the order of ``classes``."""

    prediction: list[Any]
    probabilities: list[list[float]] | None
    classes: tuple[Any, ...] | None

    @property
    def is_large(self) -> bool:
        """Whether what is made of every value keeps the event loop from others for long."""
        if len(self.prediction) * (1 + len(self.classes or ())) > VALUES_ON_THE_LOOP:
            return True
        texts = [len(value) for value in self.prediction if type(value) is str]
        return sum(texts) > _CHARACTERS_ON_THE_LOOP or not _CONTAINERS.isdisjoint(map(type, self.prediction))


class Runtime(Protocol):
    """One loaded model."""

    async def predict(self, columns: Columns, params: Mapping[str, Any] | None, claim: Claim) -> ModelOutputs:
        """Predict every row. ``claim`` is asked for the memory of an answer whose size is the model's choice.

        Raises Invalid if the model refuses, Unavailable when overloaded, DeadlineExceeded, what ``claim`` raises.
        """

    async def close(self) -> None:
        """Free the model. Nothing is asked of it any more."""
