"""Training that is logged to a real MLflow server."""

import pytest

from tidemill.settings.model import MlflowSettings, Settings


@pytest.fixture
def settings(settings: Settings, mlflow_server: str) -> Settings:
    return settings.model_copy(update={"mlflow": MlflowSettings(url=mlflow_server)})
