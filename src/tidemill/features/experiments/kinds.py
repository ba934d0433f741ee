"""The job of a training run as whoever enqueues it names it; `tasks` says what it does."""

from pydantic import BaseModel

from tidemill.jobs.service import Kind

TRAIN = Kind("training.run", "training", 6 * 3600)


class TrainPayload(BaseModel):
    run_id: str
