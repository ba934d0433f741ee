"""The registry's jobs as whoever enqueues them names them; `tasks` says what they do."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tidemill.jobs.service import Kind
from tidemill.schemas.registry import Compare, ImportModel

GATE = Kind("registry.gate", "default", 1800)
IMPORT = Kind("registry.import", "default", 3600)
COMPARE = Kind("registry.compare", "default", 1800)
MIRROR = Kind("registry.mirror", "default", 300)
COLLECT = Kind("registry.collect", "default", 1800)


class GatePayload(BaseModel):
    model_name: str
    number: int
    purpose: Literal["registration", "promotion"]
    """After a registration a no is a result; for a promotion it is a refusal."""
    reason: str | None = None


class ImportPayload(BaseModel):
    model_name: str
    request: ImportModel


class ComparePayload(BaseModel):
    model_name: str
    request: Compare


class MirrorPayload(BaseModel):
    model_name: str


class CollectPayload(BaseModel):
    min_age_hours: Annotated[float, Field(gt=0)] = 48
    """Younger objects may belong to a job under way."""
