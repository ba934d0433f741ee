"""The job of a training run: parts down, compute in a child, files up, then one transaction that stores and registers.

Files lie under content addresses and MLflow's run is found again by the job's id, so a job that lost its worker
repeats at most the steps after its last finished trial.
"""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from tidemill.adapters.bundles import bundle_key, pack_bundle
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import transaction
from tidemill.db.tables.experiments import Run
from tidemill.features.datasets import service as datasets
from tidemill.features.experiments import service
from tidemill.features.experiments.kinds import TRAIN, TrainPayload
from tidemill.features.experiments.left_open import EndRunsPayload, end_runs, end_runs_of
from tidemill.features.experiments.service import Found
from tidemill.jobs.definition import JobContext, Progress, TaskDefinition
from tidemill.jobs.returned import returned_file
from tidemill.jobs.schedules import Schedule
from tidemill.kit.hashing import sha256_of_file
from tidemill.sandbox.policy import Reach

_ENTRY = "tidemill.training.entry:train"
_GIT_TIMEOUT_SECONDS = 5


async def run_training(context: JobContext, payload: TrainPayload) -> dict[str, Any]:
    """Train one run to its end; a run that is finished already is left as it is."""
    async with transaction(context.services.sessions) as session:
        run, _ = await service.get_run(session, payload.run_id)
    if run.finished_at is None:
        async with context.scratch() as folder:
            for part in ("parts", "output"):
                (folder / part).mkdir()
            found = await _compute(context, run, folder)
        async with context.transaction() as session:
            run = await service.finish(session, run.id, found)
    return {"run_id": run.id, "model_name": run.experiment_name, "model_version": run.model_version}


async def _compute(context: JobContext, run: Run, folder: Path) -> Found:
    await context.progress(Progress("downloading"))
    async with transaction(context.services.sessions) as session:
        version = await datasets.get_by_id(session, run.dataset_version_id)
    parts = await datasets.download_parts(context.services.store, version, folder / "parts")
    output = folder / "output"
    order = await _order(context, run, parts, output)
    reach = Reach(read=(folder / "parts",), write=(output,), addresses=(order["study_url"], order["mlflow"]["url"]))
    result = await context.compute(_ENTRY, order, reach)
    await context.progress(Progress("uploading"))
    return await _upload(context.services.store, output, folder, result)


async def _order(context: JobContext, run: Run, parts: list[Path], output: Path) -> dict[str, Any]:
    settings = context.services.settings
    study = settings.database.optuna_url or settings.database.url
    token = settings.mlflow.token
    return {
        "job_id": context.job_id,
        "model_name": run.experiment_name,
        "dataset": {
            "name": run.dataset_name,
            "number": run.dataset_version,
            "version_id": run.dataset_version_id,
            "sha256": run.dataset_sha256,
        },
        "options": run.options,
        "parts": [str(part) for part in parts],
        "output": str(output),
        "study_url": study.get_secret_value(),
        "mlflow": {
            "url": settings.mlflow.url,
            "token": token.get_secret_value() if token else None,
            "timeout_seconds": settings.mlflow.timeout_seconds,
            "git_commit": await asyncio.to_thread(_git_commit),
        },
    }


def _git_commit() -> str | None:
    """Of the folder the worker was started in, if that is a git repository."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=_GIT_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


async def _upload(store: ObjectStore, output: Path, folder: Path, result: dict[str, Any]) -> Found:
    bundle = await asyncio.to_thread(pack_bundle, output / "model", folder / "bundle.tar")
    await store.upload(bundle_key(bundle.sha256), bundle.path)
    figures = []
    for found in sorted((output / "figures").glob("*.png")):
        path = returned_file(str(found), output)
        key = await _upload_as(store, "figures", path)
        figures.append({"name": path.name, "key": key, "size_bytes": path.stat().st_size})
    return Found(
        result=result,
        bundle_sha256=bundle.sha256,
        bundle_size_bytes=bundle.size_bytes,
        holdout_key=await _upload_as(store, "holdouts", returned_file(str(output / "holdout.parquet"), output)),
        report_key=await _upload_as(store, "reports", returned_file(str(output / "report.json"), output)),
        figures=figures,
    )


async def _upload_as(store: ObjectStore, folder: str, path: Path) -> str:
    key = f"{folder}/{await asyncio.to_thread(sha256_of_file, path)}{path.suffix}"
    if not await store.exists(key):
        await store.upload(key, path)
    return key


TASK = TaskDefinition(
    kind=TRAIN.kind,
    queue=TRAIN.queue,
    payload=TrainPayload,
    run=run_training,
    timeout_seconds=TRAIN.timeout_seconds,
    long=True,
    ended=end_runs_of,
)
END_RUNS = TaskDefinition("training.end-runs", "maintenance", EndRunsPayload, end_runs, timeout_seconds=600)
HOURLY = Schedule(name="training-end-runs", cron="23 * * * *", task=END_RUNS, payload=EndRunsPayload())
