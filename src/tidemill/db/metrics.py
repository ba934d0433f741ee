"""How much of its connection pool a process uses."""

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.settings.model import DatabaseSettings


def watch_pool(registry: CollectorRegistry, engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Show connections at work and how many there may be, read when Prometheus asks."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    in_use = Gauge(
        "tidemill_database_connections_in_use", "Connections to PostgreSQL that this process uses.", registry=registry
    )
    in_use.set_function(pool.checkedout)
    limit = Gauge(
        "tidemill_database_connections_limit", "Connections to PostgreSQL this process may use.", registry=registry
    )
    limit.set(settings.pool_size + settings.pool_overflow)
