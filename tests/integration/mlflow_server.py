"""A real MLflow tracking server for the tests of one process, on SQLite and a directory."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.ports import free_port
from tidemill.adapters.store_mark import MARK
from tidemill.settings.model import MlflowSettings

_START_TIMEOUT_SECONDS = 240
MLFLOW_CONNECTIONS = 64
"""Open ones that the server of the tests allows."""
MLFLOW_ARTIFACT_BYTES = 64 * 2**20
"""Largest artifact that the server of the tests takes."""
MLFLOW_TOKEN = "token-of-the-platform"
"""Of the platform's own processes."""


def mlflow_settings(url: str) -> MlflowSettings:
    """As the platform's own processes have them."""
    return MlflowSettings.model_validate({"url": url, "token": MLFLOW_TOKEN})


@functools.cache
def mlflow_api_port() -> int:
    """Where MLflow asks about keys; a test that shows one starts the api there."""
    return free_port()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server; it starts in about ten seconds and is shared, so use names of your own."""
    folder = tmp_path_factory.mktemp("mlflow")
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tidemill.platform.mlflow_server"]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": url.removeprefix("http://"),  # one name, as in a stack
        "TIDEMILL_MLFLOW__DATABASE_URL": f"sqlite:///{folder}/mlflow.db",
        "TIDEMILL_ENVIRONMENT": "test",
        "TIDEMILL_MLFLOW__PORT": url.rpartition(":")[2],
        "TIDEMILL_MLFLOW__TOKEN": MLFLOW_TOKEN,
        "TIDEMILL_MLFLOW__API_URL": f"http://127.0.0.1:{mlflow_api_port()}",
        "TIDEMILL_MLFLOW__MAX_ARTIFACT_BYTES": str(MLFLOW_ARTIFACT_BYTES),
        "TIDEMILL_HTTP__MAX_CONNECTIONS": str(MLFLOW_CONNECTIONS),
        "TIDEMILL_OBJECT_STORE__URL": f"file://{folder}/objects",
    }
    (folder / "objects").mkdir(mode=0o700)
    (folder / "objects" / MARK).write_text("store_of_the_tests")  # as api and worker of a platform leave it
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_healthy(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError("MLflow did not start; see its log")
