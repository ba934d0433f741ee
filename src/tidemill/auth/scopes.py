"""What a key may do. Everything not granted is denied."""

from enum import StrEnum


class Scope(StrEnum):
    """``admin`` includes all others; a ``:write`` scope includes its ``:read``."""

    ADMIN = "admin"
    KEYS_WRITE = "keys:write"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    TRAINING_READ = "training:read"
    TRAINING_WRITE = "training:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    DEPLOYMENTS_READ = "deployments:read"
    DEPLOYMENTS_WRITE = "deployments:write"
    PREDICT = "predict"
    PREDICTIONS_READ = "predictions:read"
    FEEDBACK_WRITE = "feedback:write"
    MONITORING_READ = "monitoring:read"
    MONITORING_WRITE = "monitoring:write"
    MLFLOW_READ = "mlflow:read"
    """Look at MLflow through the proxy."""
    MLFLOW_WRITE = "mlflow:write"
    DASHBOARDS_READ = "dashboards:read"
    """Open Grafana through the proxy as viewer; with ``dashboards:write`` as editor, with ``admin`` as admin."""
    DASHBOARDS_WRITE = "dashboards:write"
    SERVING = "serving"
    """What a model server needs: deployments and keys as it serves them, bundles, shipping of its ledger."""


def grants(held: frozenset[str], needed: str) -> bool:
    """True if the scopes ``held`` allow what ``needed`` asks."""
    if Scope.ADMIN in held or needed in held:
        return True
    noun, _, verb = needed.partition(":")
    return verb == "read" and f"{noun}:write" in held
