"""Where Optuna keeps its trials: the schema ``optuna`` of the platform's database, where they outlive a killed job."""

from typing import Any

from optuna.storages import InMemoryStorage, RDBStorage
from sqlalchemy import create_engine, make_url, text

_SCHEMA = "optuna"
_LOCK = 7236419


def open_storage(url: str | None) -> Any:
    """Optuna's storage at ``url`` (a PostgreSQL database), or in memory. Creates its tables on first use."""
    if url is None:
        return InMemoryStorage()
    # A crash of the database may cost the last trials, which are then made again; waiting for its disk costs every one.
    options = {
        "connect_args": {"options": f"-c search_path={_SCHEMA} -c timezone=UTC -c synchronous_commit=off"},
        "pool_pre_ping": True,
    }
    engine = create_engine(make_url(url), **options)
    try:
        with engine.connect() as connection:
            # Two first jobs at once would both create the tables.
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            return RDBStorage(url, engine_kwargs=options)
    finally:
        engine.dispose()
