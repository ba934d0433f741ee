"""The jobs of datasets as those who enqueue them know them."""

from dataclasses import dataclass

from tidemill.schemas.base import Schema


@dataclass(frozen=True)
class Kind:
    kind: str
    queue: str
    timeout_seconds: float


INGEST = Kind("datasets.ingest", "data", 6 * 3600)
COLLECT = Kind("datasets.collect", "maintenance", 3600)


class IngestPayload(Schema):
    version_id: str


class CollectPayload(Schema):
    min_age_hours: float = 24
    """Younger objects may belong to work that goes on; the longest ingest takes less."""
