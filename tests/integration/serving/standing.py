"""A platform on which every operation of the api can succeed, and the requests that do."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from tests.integration.ledger_rows import Predicted, add_predictions
from tests.integration.serving.models import Models, constant
from tidemill.db.engine import transaction
from tidemill.features.datasets import service as datasets
from tidemill.features.datasets.service import Ingested
from tidemill.features.experiments import service as experiments
from tidemill.features.monitoring import service as monitoring
from tidemill.features.monitoring.service import ReportOrder
from tidemill.kit import ids
from tidemill.kit.clock import earlier, utc_now
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.schemas.monitoring import (
    PredictionDistribution,
    ReportContent,
    ReportCounts,
    Representativeness,
    Slice,
)

ROW = {"age": 25, "hours": 20.5, "town": "Ulm"}
_PEOPLE = b"age,hours,town\n25,20.5,Ulm\n61,60,Bonn\n"
_SEGMENT_MOMENT = "2026-01-31T12:00:00Z"
_REFERENCES = frozenset({"dataset", "deployment", "model", "other", "target", "version"})
"""Members of queries and bodies that name what is there; all others are the caller's to choose."""
Values = dict[str, Any]


def _references(container: str, values: Values) -> Values:
    return {name: value for name, value in values.items() if container == "path" or name in _REFERENCES}


@dataclass
class Scenario:
    """By operation: what a request of it is made of, by where it goes (``path``, ``query``, ``body``...)."""

    examples: dict[str, dict[str, Values]] = field(default_factory=dict)
    """The request that succeeds, sent once, before all others; what it takes away is nothing that another needs."""
    standing: dict[str, dict[str, Values]] = field(default_factory=dict)
    """What is there to stay. It takes the place of made-up values in every request that is well formed there."""
    described: Values = field(default_factory=dict)
    """A deployment's own document, which narrows the server's."""

    def add(self, operation: str, *, stays: bool = True, media_type: str = "application/json", **parts: Any) -> None:
        self.examples[operation] = parts | ({"media_type": media_type} if "body" in parts else {})
        if stays:
            self.standing[operation] = {name: _references(name, part) for name, part in parts.items()}


async def _pushed(control: httpx.AsyncClient, models: Models, name: str, *contents: bytes) -> None:
    """Versions of a dataset, read as their jobs would have read them."""
    part_key = f"parts/{name}.parquet"
    await models.store.put(part_key, b"PAR1")
    part = {"key": part_key, "sha256": sha256_of_bytes(b"PAR1"), "size_bytes": 4, "row_count": 2}
    columns = [{"name": column, "type": "string", "nullable": False} for column in ("age", "hours", "town")]
    for content in contents:
        answer = await control.post(f"/api/v1/datasets/{name}/versions", content=content)
        assert answer.status_code == 202, answer.text
        read = Ingested({"columns": columns}, 2, [part], {"columns": {}}, {"format": "csv"}, [])
        async with transaction(models.sessions) as session:
            version = await datasets.get_by_id(session, answer.json()["version_id"])
            assert await datasets.finish(session, version.id, read, await datasets.contract_of(session, version))


async def _job_of(control: httpx.AsyncClient, path: str, body: Values) -> str:
    """The id of the job that a request starts."""
    answer = await control.post(path, json=body)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].rpartition("/")[2]


async def prepare(control: httpx.AsyncClient, models: Models) -> Scenario:
    """Fill the platform behind ``control`` and tell what is on it. No job is run: what they leave is put there."""
    scenario = Scenario()
    prediction = await _serve(control, models, scenario)
    more = _PEOPLE + b"30,1,Kiel\n"
    for name, contents in {"people": (_PEOPLE, more), "doomed": (_PEOPLE,), "thinned": (_PEOPLE, more)}.items():
        await _pushed(control, models, name, *contents)
    _list(scenario)
    _datasets(scenario)
    await _models(control, scenario)
    await _training(control, models, scenario)
    await _monitoring(models, scenario)
    _predictions(scenario, prediction)
    await _jobs_and_keys(control, scenario)
    return scenario


def serving(described: Values) -> Scenario:
    """The same for a model server that serves ``wealth``, which is ``described``."""
    scenario, rows = Scenario(described=described), {"inputs": [ROW]}
    scenario.add("predict", path={"name": "wealth"}, body=rows)
    scenario.add("invocations", query={"deployment": "wealth"}, body=rows)
    scenario.add("invocations_of_deployment", path={"name": "wealth"}, body=rows)
    scenario.add("deployment_openapi", path={"name": "wealth"})
    for name in ("health_live", "health_ready", "mlflow_ping", "mlflow_health", "mlflow_version"):
        scenario.add(name)
    return scenario


async def _serve(control: httpx.AsyncClient, models: Models, scenario: Scenario) -> str:
    """Five versions of ``wealth``, deployments of it, and one prediction, whose id is given back."""
    version = None
    for number in range(1, 6):
        version = await models.register("wealth", constant(float(number)))
    assert version is not None
    for name in ("wealth", "doomed"):
        (await control.put(f"/api/v1/deployments/{name}", json={"model": "wealth:1"})).raise_for_status()
    for operation in ("get", "history", "status"):
        scenario.add(f"deployments_{operation}", path={"name": "wealth"})
    scenario.add("deployments_apply", path={"name": "wealth"}, body={"model": "wealth:1"})
    scenario.add("deployments_delete", stays=False, path={"name": "doomed"})
    scenario.add("serving_bundle", path={"sha256": version.bundle_sha256})
    now = utc_now().replace(microsecond=0)
    row = Predicted({"prediction": 1.0}, now, deployment="wealth", model_name="wealth")
    return (await add_predictions(models.sessions, [row]))[0]


def _list(scenario: Scenario) -> None:
    for name in ("datasets", "deployments", "models", "keys", "jobs", "training_runs", "monitoring_reports"):
        scenario.add(f"{name}_list", query={"page_size": 1})
    scenario.add("health_checks")
    scenario.add("serving_snapshot")
    scenario.add("sessions_get", query={"area": "mlflow"})
    scenario.add("health_live")
    scenario.add("health_ready", query={"verbose": ""})


def _datasets(scenario: Scenario) -> None:
    people = {"name": "people", "number": 1}
    scenario.add("datasets_get", path={"name": "people"})
    scenario.add("datasets_versions_list", path={"name": "people"})
    scenario.add("datasets_versions_get", path=people)
    scenario.add("datasets_versions_raw", path=people)
    scenario.add("datasets_versions_part", path=people | {"index": 0})
    scenario.add("datasets_versions_diff", path={"name": "people", "before": 1, "after": 2})
    scenario.add(
        "datasets_versions_create", stays=False, path={"name": "fresh"}, query={"filename": "a.csv"},
        body="a,b\n1,2\n", media_type="application/octet-stream",
    )  # fmt: skip
    scenario.add("datasets_versions_delete", stays=False, path={"name": "thinned", "number": 1})
    scenario.add("datasets_delete", stays=False, path={"name": "doomed"})


async def _models(control: httpx.AsyncClient, scenario: Scenario) -> None:
    wealth, forced = {"name": "wealth"}, {"force": True, "reason": "tried"}
    for number in (2, 3):
        body = {"version": number} | forced
        (await control.post("/api/v1/models/wealth:promote", json=body)).raise_for_status()
    (await control.put("/api/v1/models/wealth/aliases/old", json={"version": 1})).raise_for_status()
    for operation in ("get", "aliases_get", "decisions_list", "history_list", "policy_get", "versions_list"):
        scenario.add(f"models_{operation}", path=wealth)
    scenario.add("models_versions_get", path=wealth | {"number": 1})
    scenario.add("models_versions_delete", stays=False, path=wealth | {"number": 5})
    scenario.add("models_aliases_set", path=wealth | {"alias": "steady"}, body={"version": 1})
    scenario.add("models_aliases_delete", stays=False, path=wealth | {"alias": "old"})
    scenario.add("models_policy_put", path=wealth, body={"confidence": 0.9})
    scenario.add("models_versions_import", path={"name": "adopted"}, body={"run_id": "0" * 32})
    scenario.add("models_compare", path=wealth, body={"version": 1, "other": 2})
    scenario.add("models_promote", path=wealth, body={"version": 4} | forced)
    scenario.add("models_rollback", path=wealth, body={})


async def _training(control: httpx.AsyncClient, models: Models, scenario: Scenario) -> None:
    """A run that has ended, as its job would have left it."""
    wanted = {"dataset": "people", "target": "town"}
    answer = await control.post("/api/v1/training-runs", json=wanted)
    assert answer.status_code == 202, answer.text
    run, experiment = answer.json()["run_id"], answer.json()["name"]
    report, figure = (f"{folder}/{sha256_of_bytes(b'{}')}" for folder in ("reports", "figures"))
    for key in (report, figure):
        await models.store.put(key, b"{}")
    result = {
        "task": "multiclass", "metric": "log_loss", "candidate": "linear", "trials": 1, "mlflow_run_id": None,
        "metrics": {"log_loss": {"value": 0.5, "low": 0.4, "high": 0.6}}, "target": "town", "classes": ["Bonn", "Ulm"],
        "signature": {"inputs": [], "outputs": [], "params": []}, "warnings": [], "mlflow_model_uri": None,
    }  # fmt: skip
    figures = [{"name": "roc.png", "key": figure, "size_bytes": 2}]
    found = experiments.Found(result, "0" * 64, 1, "holdouts/none", report, figures)
    async with transaction(models.sessions) as session:
        await experiments.finish(session, run, found)
    scenario.add("training_runs_create", body=wanted)
    scenario.add("training_runs_get", path={"run_id": run})
    scenario.add("training_runs_get_figure", path={"run_id": run, "name": "roc.png"})
    scenario.add("experiments_get_leaderboard", path={"name": experiment})


async def _monitoring(models: Models, scenario: Scenario) -> None:
    """A report that says little, with every member that one has."""
    nothing = Representativeness(representative=None, statistic=None, labelled=None, unlabelled=None, detail="Few.")
    total = Slice(
        predictions=1, labelled=0, invalid_truths=0, coverage_percent=0, task=None, metric=None, metrics=[],
        verdict="not_enough_labels", label_delay_seconds=None, representativeness=nothing,
        distribution=PredictionDistribution(), days=[], notes=[],
    )  # fmt: skip
    counts = ReportCounts(predictions=1, rows_read=1, labelled=0, coverage_percent=0, unmatched_feedback=0, revisions=0)
    now = utc_now()
    order = ReportOrder(
        report_id=ids.new_id(ids.REPORT), deployment="wealth", since=earlier(now, timedelta(days=1)), until=now
    )
    content = ReportContent(counts=counts, total=total, versions=[], notes=[])
    async with transaction(models.sessions) as session:
        await monitoring.store_report(session, order, content, ids.new_id(ids.JOB), "key_maker")
    scenario.add("monitoring_reports_get", path={"report_id": order.report_id})
    scenario.add("monitoring_reports_create", body={"deployment": "wealth"})


def _predictions(scenario: Scenario, prediction: str) -> None:
    line = (
        f'{{"prediction_id": "{ids.new_id(ids.PREDICTION)}", "predicted_at": "{_SEGMENT_MOMENT}", '
        '"deployment": "wealth", "model_name": "wealth", "model_version": 1, "inputs": {}, "output": {}}'
    )
    scenario.add("predictions_list", query={"deployment": "wealth"})
    scenario.add("predictions_get", path={"prediction_id": prediction})
    scenario.add("feedback_create", body={"items": [{"prediction_id": prediction, "truth": 2.5}]})
    scenario.add("feedback_upload", stays=False, body=f"prediction_id,truth\n{prediction},2.5\n", media_type="text/csv")
    scenario.add("ledger_segments_create", stays=False, body=line + "\n", media_type="application/x-ndjson")
    report = {"server_id": "here", "version": "1", "started_at": _SEGMENT_MOMENT, "deployments": [], "keys_used": {}}
    scenario.add("serving_status", body=report)


async def _jobs_and_keys(control: httpx.AsyncClient, scenario: Scenario) -> None:
    """Of the jobs one has ended, so that its events do too."""
    waiting, ended = [await _job_of(control, "/api/v1/monitoring/reports", {"deployment": "wealth"}) for _ in range(2)]
    (await control.post(f"/api/v1/jobs/{ended}:cancel")).raise_for_status()
    created = await control.post("/api/v1/keys", json={"name": "doomed", "scopes": ["predict"]})
    for operation in ("get", "logs", "events"):
        scenario.add(f"jobs_{operation}", path={"job_id": ended})
    scenario.add("jobs_cancel", stays=False, path={"job_id": waiting})
    scenario.add("keys_create", body={"name": "made", "scopes": ["predict"]})
    scenario.add("keys_revoke", stays=False, path={"key_id": created.json()["id"]})
