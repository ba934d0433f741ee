"""The winner as an MLflow model directory, and the whole run in MLflow's tracking server and registry.

The only module that imports mlflow, which takes seconds: it is itself imported in the background, while the winner is
fitted again. Everything is keyed by the job's id, so a job that is run again finds and completes what it began.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.sklearn import save_model
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema

from tidemill.adapters.skops_schema import TRUSTED_TYPES
from tidemill.kit.errors import Unavailable
from tidemill.schemas.experiments import JOB_TAG
from tidemill.training.frames import Column
from tidemill.training.order import MlflowTarget
from tidemill.training.reports import RunHead, RunRecord
from tidemill.training.search import TrialRecord, best_of
from tidemill.training.transformers import BooleanNumbers, DatetimeParts

_TRIAL_TAG = "tidemill.trial"
_NO_TRIAL = "none"
_MAX_TRIAL_RUNS = 30
_COMPLETE, _PRUNED = "FINISHED", "KILLED"
_ENDED = (_COMPLETE, _PRUNED)
"""A trial's run with another status was begun by an attempt that was killed."""
_MAX_VALUE_CHARACTERS = 500
_PACKAGES = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")
_TYPES = {
    "boolean": DataType.boolean,
    "integer": DataType.long,
    "float": DataType.double,
    "string": DataType.string,
    "datetime": DataType.datetime,
}


@dataclass(frozen=True, slots=True)
class LoggedRun:
    run_id: str
    model_uri: str


def write_model(
    pipeline: Any, columns: Sequence[Column], output: Column, example: pd.DataFrame, path: Path
) -> dict[str, Any]:
    """Save the pipeline as an MLflow model in skops format and return its signature.

    Raises MlflowException if the pipeline holds a type that is not on the platform's list of trusted ones.
    """
    inputs = Schema([ColSpec(_TYPES[column.kind], column.name, required=not column.nullable) for column in columns])
    signature = ModelSignature(inputs, Schema([ColSpec(_TYPES[output.kind])]))
    save_model(
        pipeline, str(path), signature=signature, input_example=example, serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES), pip_requirements=_requirements(pipeline),
    )  # fmt: skip
    return {
        "inputs": [
            {"name": column.name, "type": _TYPES[column.kind].name, "required": not column.nullable}
            for column in columns
        ],
        "outputs": [{"type": _TYPES[output.kind].name}],
        "params": [],
    }


def log_run(target: MlflowTarget, record: RunRecord, output: Path) -> LoggedRun:
    """Log everything in ``output`` and register the model; a second call for one job completes the first.

    Raises Unavailable when MLflow does not answer, so that the job is tried again.
    """
    with _errors_translated():
        return _log(_client(target), record, output)


def log_trials(target: MlflowTarget, head: RunHead) -> None:
    """Log the trials alone, which can be done while the winner is fitted again; `log_run` completes them."""
    with _errors_translated():
        client = _client(target)
        experiment = _experiment(client, head.model_name)
        _log_trials(client, experiment, _parent_run(client, experiment, head), head)


def _client(target: MlflowTarget) -> MlflowClient:
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(int(target.timeout_seconds))
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "5"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # Two lines a trial, with an address that only the worker can reach.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    if target.token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = target.token.get_secret_value()
    return MlflowClient(target.url, target.url)


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise Unavailable("mlflow_failed", f"MLflow did not take the run ({error.error_code}).") from error
    except OSError as error:  # also what its HTTP library raises
        raise Unavailable("mlflow_unavailable", f"MLflow does not answer ({type(error).__name__}).") from error


def _log(client: MlflowClient, record: RunRecord, output: Path) -> LoggedRun:
    experiment = _experiment(client, record.head.model_name)
    run_id = _parent_run(client, experiment, record.head)
    client.log_batch(run_id, metrics=_metrics(record.metrics), params=_params(record.params))
    _log_dataset(client, run_id, record)
    client.log_artifacts(run_id, str(output / "figures"), "figures")
    client.log_artifact(run_id, str(output / "report.json"))
    _log_trials(client, experiment, run_id, record.head)
    model_uri = _model(client, experiment, run_id, record.head, output / "model")
    client.set_terminated(run_id, "FINISHED")
    return LoggedRun(run_id, model_uri)


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another job created it meanwhile
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _parent_run(client: MlflowClient, experiment: str, head: RunHead) -> str:
    mine = f"tags.`{JOB_TAG}` = '{head.job_id}' and tags.`{_TRIAL_TAG}` = '{_NO_TRIAL}'"
    found = client.search_runs([experiment], mine, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {**head.tags, JOB_TAG: head.job_id, _TRIAL_TAG: _NO_TRIAL}
    name = f"{best_of(head.trials, head.metric).candidate} on {head.dataset.name}:{head.dataset.number}"
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _log_dataset(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    source = f"{record.head.dataset.name} version {record.head.dataset.number}"
    dataset = Dataset(
        name=record.head.dataset.name,
        digest=record.head.dataset.sha256[:36],
        source_type="tidemill",
        source=source,
        profile=f'{{"num_rows": {record.row_count}}}',
    )
    tag = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset=dataset, tags=[tag])])


def _log_trials(client: MlflowClient, experiment: str, parent: str, head: RunHead) -> None:
    """The first trials and the best as child runs; all of them are in the report."""
    known = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=_MAX_TRIAL_RUNS * 2)
    begun = {run.data.tags.get(_TRIAL_TAG): run.info for run in known}
    best = best_of(head.trials, head.metric)
    for trial in [*head.trials[:_MAX_TRIAL_RUNS], *([best] if best not in head.trials[:_MAX_TRIAL_RUNS] else [])]:
        info = begun.get(str(trial.number))
        if info is not None and info.status in _ENDED:
            continue
        if info is None:
            tags = {"mlflow.parentRunId": parent, JOB_TAG: head.job_id, _TRIAL_TAG: str(trial.number)}
            info = client.create_run(experiment, run_name=f"trial {trial.number}", tags=tags).info
        _log_trial(client, str(info.run_id), trial, head.metric)


def _log_trial(client: MlflowClient, run_id: str, trial: TrialRecord, metric: str) -> None:
    score = {} if trial.score is None else {f"validation_{metric}": trial.score}
    client.log_batch(
        run_id,
        metrics=_metrics({**score, "seconds": trial.seconds}),
        params=_params({"candidate": trial.candidate, "iterations": trial.iterations, **trial.params}),
    )
    client.set_terminated(run_id, _COMPLETE if trial.score is not None else _PRUNED)


def _model(client: MlflowClient, experiment: str, run_id: str, head: RunHead, folder: Path) -> str:
    """The logged model of this run, uploaded and registered once; one that a killed attempt left open is completed."""
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'", max_results=10)
    model = next(iter(sorted(found, key=_is_open)), None)
    if model is None:
        model = client.create_logged_model(experiment, name=head.model_name, source_run_id=run_id)
    if _is_open(model):
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
    _log_output(client, run_id, str(model.model_id))
    _register(client, run_id, head, model)
    return f"models:/{model.model_id}"


def _is_open(model: Any) -> bool:
    return str(model.status) != "READY"


def _log_output(client: MlflowClient, run_id: str, model_id: str) -> None:
    """By this the run's page shows the model, and `mlflow.get_run(...).outputs` names it; MLflow refuses it twice."""
    outputs = client.get_run(run_id).outputs
    if all(output.model_id != model_id for output in (outputs.model_outputs if outputs else ())):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _register(client: MlflowClient, run_id: str, head: RunHead, model: Any) -> None:
    try:
        client.create_registered_model(head.model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if client.search_model_versions(f"name = '{head.model_name}' and run_id = '{run_id}'", max_results=1):
        return
    client.create_model_version(
        head.model_name, f"models:/{model.model_id}", run_id=run_id, model_id=model.model_id, await_creation_for=0,
        tags={JOB_TAG: head.job_id},
    )  # fmt: skip


def _metrics(values: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in values.items()]


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(value)[:_MAX_VALUE_CHARACTERS]) for name, value in values.items()]


def _requirements(pipeline: Any) -> list[str]:
    """Exact versions of what loading and predicting needs."""
    modules = {type(step).__module__.partition(".")[0] for _, step in pipeline.steps}
    packages = [*_PACKAGES, *(["lightgbm"] if "lightgbm" in modules else [])]
    if any(isinstance(part, (BooleanNumbers, DatetimeParts)) for part in _parts(pipeline.steps[0][1])):
        packages.append("tidemill")
    return [f"{name}=={version(name)}" for name in sorted(packages)]


def _parts(encoder: Any) -> list[Any]:
    steps = [step for _, step, _ in encoder.transformers_]
    return [part for step in steps for part in (dict(step.steps).values() if hasattr(step, "steps") else [step])]
