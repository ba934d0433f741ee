"""The job of a training run as whoever enqueues it names it; `tasks` says what it does."""

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Kind:
    kind: str = "training.run"
    queue: str = "training"
    timeout_seconds: float = 6 * 3600


TRAIN = Kind()


class TrainPayload(BaseModel):
    run_id: str
