"""One module of tables per feature. Importing this package makes all of them known to `Base.metadata`."""

from tidemill.db.tables import (
    backups,
    datasets,
    deployments,
    experiments,
    feedback,
    jobs,
    keys,
    monitoring,
    predictions,
    registry,
    sessions,
    stores,
)
from tidemill.db.tables.base import Base

__all__ = [
    "Base",
    "backups",
    "datasets",
    "deployments",
    "experiments",
    "feedback",
    "jobs",
    "keys",
    "monitoring",
    "predictions",
    "registry",
    "sessions",
    "stores",
]
