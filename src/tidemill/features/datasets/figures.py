"""How much data there is."""

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TOTALS = text(
    "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(sum(row_count), 0) "
    "FROM dataset_versions WHERE state = 'ready'"
)


async def read(session: AsyncSession) -> list[Metric]:
    """Ready dataset versions, their raw bytes and their rows."""
    versions, size_bytes, rows = (await session.execute(_TOTALS)).one()
    return [
        GaugeMetricFamily("tidemill_dataset_versions", "Dataset versions that are ready.", int(versions)),
        GaugeMetricFamily("tidemill_dataset_raw_bytes", "Raw bytes of the ready dataset versions.", int(size_bytes)),
        GaugeMetricFamily("tidemill_dataset_rows", "Rows of the ready dataset versions.", int(rows)),
    ]
