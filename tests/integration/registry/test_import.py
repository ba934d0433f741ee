"""Registering models that somebody else logged to a real MLflow server."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.integration.conftest import MakeKey, RunJobs
from tidemill.adapters import mlflow_models
from tidemill.adapters.bundles import BundleLimits, bundle_key
from tidemill.adapters.data_models import DataModel, find_data_model
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.mlmodel import read_card
from tidemill.adapters.object_store import ObjectStore
from tidemill.auth.scopes import Scope
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.registry.imports import find_model
from tidemill.kit.errors import Invalid, TooLarge
from tidemill.schemas.registry import ImportModel
from tidemill.training.foreign import signature_of

URL = "/api/v1/models/theirs"

pytestmark = pytest.mark.usefixtures("mlflow_server")


@pytest.fixture
def adopt(api: httpx.AsyncClient, run_jobs: RunJobs, sessions: SessionFactory) -> Any:
    """Import a model and give its job's state."""

    async def run(**body: Any) -> Any:
        answer = await api.post(f"{URL}/versions:import", json=body)
        assert answer.status_code == 202, answer.text
        await run_jobs()
        async with transaction(sessions) as session:
            query = text("SELECT status, result, error FROM jobs WHERE id = :id")
            return (await session.execute(query, {"id": answer.json()["job_id"]})).one()

    return run


async def test_a_skops_model_measured_on_a_dataset_passes_the_gate(
    adopt: Any, logged: dict[str, str], api: httpx.AsyncClient, store: ObjectStore, dataset_version_id: str
) -> None:
    job = await adopt(run_id=logged["run"], evaluation={"dataset": "people", "target": "good"})
    assert job.status == "succeeded", job.error
    version = (await api.get(f"{URL}/versions/1")).json()
    assert (version["flavor"], version["source"], version["code_allowed_by"]) == ("pyfunc", "import", None)
    assert version["mlflow_model_uri"] == f"models:/{logged['skops']}"
    assert version["mlflow_run_id"] == logged["run"]
    assert version["signature"]["inputs"] == [
        {"name": "age", "type": "double", "required": True},
        {"name": "noise", "type": "double", "required": True},
    ]
    assert (version["task"], version["target"], version["classes"]) == ("binary", "good", ["no", "yes"])
    assert version["dataset_version_id"] == dataset_version_id
    auc = version["metrics"]["roc_auc"]
    assert 0.7 < auc["low"] < auc["value"] < auc["high"] < 1
    assert await store.size(bundle_key(version["bundle_sha256"])) == version["bundle_size_bytes"]
    decision = (await api.get(f"{URL}/decisions")).json()["items"][0]
    assert decision["passed"], decision["reasons"]
    assert (await api.get(URL)).json()["aliases"] == {"champion": 1}


async def test_a_target_that_the_dataset_lacks_is_told_with_the_name_that_was_meant(
    adopt: Any, logged: dict[str, str], dataset_version_id: str
) -> None:
    job = await adopt(run_id=logged["run"], evaluation={"dataset": "people", "target": "god"})
    assert (job.status, job.error["code"]) == ("failed", "column_unknown")
    assert "Did you mean good?" in job.error["detail"]


async def test_whoever_may_not_read_datasets_has_no_model_evaluated_on_one(
    api: httpx.AsyncClient, make_key: MakeKey, logged: dict[str, str], dataset_version_id: str
) -> None:
    headers = {"Authorization": f"Bearer {await make_key(Scope.MODELS_WRITE)}"}
    body = {"run_id": logged["run"], "evaluation": {"dataset": "people", "target": "good"}}
    refused = await api.post(f"{URL}/versions:import", json=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    headers = {"Authorization": f"Bearer {await make_key(Scope.MODELS_WRITE, Scope.DATASETS_READ)}"}
    assert (await api.post(f"{URL}/versions:import", json=body, headers=headers)).status_code == 202


async def test_every_name_of_a_model_leads_to_it(mlflow: MlflowRest, logged: dict[str, str]) -> None:
    uri = f"models:/{logged['skops']}"
    names = [{"model_uri": uri}, {"run_id": logged["run"]}, {"run_id": logged["run"], "artifact_path": "forest"},
             {"mlflow_model": "forest/1"}, {"mlflow_model": "forest@best"}]  # fmt: skip
    for name in names:
        found = await find_model(mlflow, ImportModel.model_validate(name))
        assert (found.model_uri, found.run_id) == (uri, logged["run"])


async def test_a_format_that_runs_code_needs_permission_which_is_kept(
    adopt: Any, logged: dict[str, str], api: httpx.AsyncClient
) -> None:
    uri = f"models:/{logged['pickle']}"
    refused = await adopt(model_uri=uri)
    kind = (refused.status, refused.error["kind"], refused.error["code"])
    assert kind == ("failed", "Forbidden", "pickle_not_allowed")
    allowed = await adopt(model_uri=uri, allow_pickle=True)
    assert allowed.status == "succeeded", allowed.error
    assert (await api.get(f"{URL}/versions/1")).json()["code_allowed_by"].startswith("key_")
    assert (await api.get(URL)).json()["aliases"] == {"challenger": 1}
    decision = (await api.get(f"{URL}/decisions")).json()["items"][0]
    assert decision["reasons"][0].startswith("No evidence")


@pytest.mark.parametrize(
    ("sort", "reasons"),
    [("skops", []), ("booster", []), ("pickle", ["It is a pickle."]),
     ("python", ["Its loader runs Python code that the model brings."])],
)  # fmt: skip
async def test_formats_are_judged_by_what_loading_them_does(
    mlflow: MlflowRest, logged: dict[str, str], tmp_path: Path, sort: str, reasons: list[str]
) -> None:
    found = await mlflow_models.find_logged(mlflow, logged[sort])
    await mlflow_models.download_model(mlflow, found.artifact_path, tmp_path / "model", BundleLimits())
    judged = find_data_model(read_card(tmp_path / "model"))
    assert [problem.detail for problem in ([] if isinstance(judged, DataModel) else judged)] == reasons


async def test_a_model_without_a_signature_is_refused(
    mlflow: MlflowRest, logged: dict[str, str], tmp_path: Path
) -> None:
    found = await mlflow_models.find_logged(mlflow, logged["unsigned"])
    await mlflow_models.download_model(mlflow, found.artifact_path, tmp_path / "model", BundleLimits())
    with pytest.raises(Invalid) as refused:
        signature_of(read_card(tmp_path / "model"))
    assert refused.value.code == "signature_missing"


async def test_a_model_past_the_limits_is_not_fetched(
    mlflow: MlflowRest, logged: dict[str, str], tmp_path: Path
) -> None:
    found = await mlflow_models.find_logged(mlflow, logged["skops"])
    for limits in (BundleLimits(max_files=2), BundleLimits(max_bytes=100)):
        with pytest.raises(TooLarge):
            await mlflow_models.download_model(mlflow, found.artifact_path, tmp_path / "model", limits)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ({"mlflow_model": "forest/7"}, "mlflow_not_found"),
        ({"mlflow_model": "nothing/1"}, "mlflow_not_found"),
        ({"model_uri": "models:/m-00000000000000000000000000000000"}, "mlflow_not_found"),
        ({"run_id": "0" * 32}, "mlflow_not_found"),
    ],
)
async def test_what_cannot_be_registered_says_why(
    adopt: Any, api: httpx.AsyncClient, name: dict[str, str], code: str
) -> None:
    job = await adopt(**name)
    assert (job.status, job.error["code"]) == ("failed", code)
    assert (await api.get(URL)).status_code == 404


async def test_a_request_names_exactly_one_model(api: httpx.AsyncClient) -> None:
    for body in ({}, {"run_id": "0" * 32, "mlflow_model": "a/1"}, {"mlflow_model": "a/1", "artifact_path": "model"}):
        assert (await api.post(f"{URL}/versions:import", json=body)).status_code == 422
