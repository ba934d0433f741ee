"""FastAPI dependencies of the api: session, principal, object store, MLflow."""

from tidemill.deps.access import Standing, authenticator, require, standing
from tidemill.deps.metrics import IntakeMetrics, IntakeMetricsDep
from tidemill.deps.services import (
    ApiServices,
    LanesDep,
    MlflowDep,
    ServicesDep,
    SessionDep,
    SessionsDep,
    SettingsDep,
    StoreDep,
)
from tidemill.deps.uploads import Uploads, UploadsDep

__all__ = [
    "ApiServices",
    "IntakeMetrics",
    "IntakeMetricsDep",
    "LanesDep",
    "MlflowDep",
    "ServicesDep",
    "SessionDep",
    "SessionsDep",
    "SettingsDep",
    "Standing",
    "StoreDep",
    "Uploads",
    "UploadsDep",
    "authenticator",
    "require",
    "standing",
]
