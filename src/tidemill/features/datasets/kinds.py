"""The jobs of datasets as those who enqueue them know them."""

from tidemill.jobs.service import Kind
from tidemill.schemas.base import Schema

INGEST = Kind("datasets.ingest", "data", 6 * 3600)
COLLECT = Kind("datasets.collect", "maintenance", 3600)


class IngestPayload(Schema):
    version_id: str


class CollectPayload(Schema):
    min_age_hours: float = 24
    """Younger objects may belong to work that goes on; the longest ingest takes less."""
