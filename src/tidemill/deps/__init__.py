"""FastAPI dependencies of the api: session, principal, object store, MLflow."""

from tidemill.deps.access import Standing, authenticator, require, standing
from tidemill.deps.metrics import IntakeMetrics, IntakeMetricsDep
from tidemill.deps.room import JobRoom, Uploads, UploadsDep, room_for_job
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

__all__ = [
    "ApiServices",
    "IntakeMetrics",
    "IntakeMetricsDep",
    "JobRoom",
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
    "room_for_job",
    "standing",
]
