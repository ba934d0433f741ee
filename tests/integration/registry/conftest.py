"""Trained versions in the store, their dataset, and models of each sort on a real MLflow server."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from tests.integration.conftest import RunJobs
from tests.integration.mlflow_server import MLFLOW_TOKEN, mlflow_settings
from tests.integration.registry.models import register
from tests.integration.registry.trained import Trained, people, upload
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory
from tidemill.db.tables.registry import ModelVersion
from tidemill.settings.model import Settings

Enrol = Callable[..., Awaitable[ModelVersion]]


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return people()


@pytest.fixture
def enrol(sessions: SessionFactory, store: ObjectStore, tmp_path: Path) -> Enrol:
    """``await enrol(trained, "name")`` stores a trained model's bundle and holdout and registers it as ``loans``."""

    async def run(trained: Trained, name: str, **changes: Any) -> ModelVersion:
        return await register(sessions, **await upload(store, trained, tmp_path, name), **changes)

    return run


@pytest.fixture
async def dataset_version_id(api: httpx.AsyncClient, run_jobs: RunJobs, frame: pd.DataFrame) -> str:
    """The rows of ``frame`` as the pushed dataset ``people``."""
    content = frame.to_csv(index=False).encode()
    pushed = await api.post("/api/v1/datasets/people/versions", content=content, params={"filename": "people.csv"})
    assert pushed.status_code == 202, pushed.text
    await run_jobs()
    version: str = pushed.json()["version_id"]
    return version


@pytest.fixture(scope="session")
def logged(mlflow_server: str) -> dict[str, str]:
    """Ids of the models: ``skops``, ``pickle``, ``booster``, ``python``, ``unsigned``, and the ``run`` of the first."""
    root = Path(__file__).parents[3]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": mlflow_server, "MLFLOW_TRACKING_TOKEN": MLFLOW_TOKEN,
        "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(root), "GIT_PYTHON_REFRESH": "quiet",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.integration.registry.log_models"]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """With MLflow for the tests that ask for it."""
    if "mlflow_server" not in request.fixturenames:
        return settings
    url = request.getfixturevalue("mlflow_server")
    return settings.model_copy(update={"mlflow": mlflow_settings(url)})
