"""Training that is logged to a real MLflow server."""

import pytest

from tests.integration.mlflow_server import mlflow_settings
from tidemill.settings.model import Settings


@pytest.fixture
def settings(settings: Settings, mlflow_server: str) -> Settings:
    return settings.model_copy(update={"mlflow": mlflow_settings(mlflow_server)})
