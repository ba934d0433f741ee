"""FastAPI dependencies of the api: session, principal, object store, MLflow."""

from tidemill.deps.access import require
from tidemill.deps.metrics import IntakeMetrics, IntakeMetricsDep
from tidemill.deps.services import (
    ApiServices,
    MlflowDep,
    ServicesDep,
    SessionDep,
    SessionsDep,
    SettingsDep,
    StoreDep,
)

__all__ = [
    "ApiServices",
    "IntakeMetrics",
    "IntakeMetricsDep",
    "MlflowDep",
    "ServicesDep",
    "SessionDep",
    "SessionsDep",
    "SettingsDep",
    "StoreDep",
    "require",
]
