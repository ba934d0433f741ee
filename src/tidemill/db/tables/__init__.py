"""One module of tables per feature. Importing this package makes all of them known to `Base.metadata`."""

from tidemill.db.tables import (
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
)
from tidemill.db.tables.base import Base

__all__ = [
    "Base",
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
]
