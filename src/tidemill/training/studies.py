"""Where Optuna keeps its trials: the schema ``optuna`` of the platform's database, where they outlive a killed job."""

from typing import Any

from optuna import get_all_study_names
from optuna.storages import InMemoryStorage, RDBStorage
from sqlalchemy import create_engine, make_url, text

from tidemill.kit.reporter import Reporter

_SCHEMA = "optuna"
_LOCK = 7236420
"""Of PostgreSQL; `jobs.queries` has another."""


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


def forget(request: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Delete the studies ``names`` with their trials from the storage at ``study_url``; missing ones are no error.

    The result holds ``forgotten``, how many there were.
    """
    storage = open_storage(request["study_url"])
    known = set(get_all_study_names(storage))
    names = [name for name in request["names"] if name in known]
    for done, name in enumerate(names):
        reporter.check()
        storage.delete_study(storage.get_study_id_from_name(name))
        reporter.progress("studies", done + 1, len(names))
    return {"forgotten": len(names)}
