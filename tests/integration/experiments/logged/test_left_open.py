"""What a killed attempt left open in MLflow is completed by the next one, and stands there once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow.tracking import MlflowClient

from tests.integration.mlflow_server import MLFLOW_TOKEN
from tidemill.training import mlflow_record
from tidemill.training.reports import RunHead


class _Killed(Exception):
    pass


class _EndsBefore:
    """A client whose process is killed before its call of ``step`` is made."""

    def __init__(self, client: MlflowClient, step: str) -> None:
        self._client, self._step = client, step

    def __getattr__(self, name: str) -> Any:
        if name == self._step:
            raise _Killed
        return getattr(self._client, name)


def test_a_model_that_was_begun_is_completed_and_registered_once(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", MLFLOW_TOKEN)
    client = MlflowClient(mlflow_server, mlflow_server)
    experiment = client.create_experiment("left-open")
    run_id = client.create_run(experiment).info.run_id
    head = cast("RunHead", SimpleNamespace(model_name="left-open", job_id="job"))
    for step in ("log_model_artifacts", "finalize_logged_model", "log_outputs", "create_model_version"):
        killed = cast("MlflowClient", _EndsBefore(client, step))
        with pytest.raises(_Killed):
            mlflow_record._model(killed, experiment, run_id, head, tmp_path)
    for _ in range(2):
        mlflow_record._model(client, experiment, run_id, head, tmp_path)
    logged = client.search_logged_models([experiment])
    assert [str(model.status) for model in logged] == ["READY"]
    assert len(client.get_run(run_id).outputs.model_outputs) == 1
    assert len(client.search_model_versions("name = 'left-open'")) == 1
