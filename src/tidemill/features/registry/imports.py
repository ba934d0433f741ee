"""Job ``registry.import``: register a model that MLflow holds, of whatever flavour."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters import mlflow_models
from tidemill.adapters.bundles import BundleLimits, bundle_key
from tidemill.adapters.mlflow_models import MlflowModel
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.model_loading import PYFUNC
from tidemill.db.engine import transaction
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.registry import dataset_link, queries, service
from tidemill.features.registry.adopted import Adoption
from tidemill.features.registry.kinds import ImportPayload
from tidemill.features.registry.material import Material
from tidemill.features.registry.service import NewModelVersion
from tidemill.jobs.definition import JobContext, Progress
from tidemill.jobs.returned import returned_file, returned_record
from tidemill.kit.hashing import sha256_of_file
from tidemill.sandbox.policy import Reach
from tidemill.schemas.registry import ImportModel

_ENTRY = "tidemill.training.adoption:adopt"


@dataclass(frozen=True)
class Adopted:
    """The model as it was found, and what the child says about it."""

    origin: MlflowModel
    found: Adoption
    dataset_version_id: str | None
    holdout_key: str | None


async def run_import(ctx: JobContext, payload: ImportPayload) -> dict[str, Any]:
    """Fetch, check, try, measure and pack the model, then register it as the next version."""
    async with transaction(ctx.services.sessions) as session:
        earlier = await queries.version_of_job(session, ctx.job_id)
        dataset_version_id = await _dataset(session, payload.request)
    if earlier is not None:
        return _result(earlier)
    async with ctx.scratch() as folder:
        adopted = await _adopt(ctx, payload.request, dataset_version_id, folder)
    async with ctx.transaction() as session:
        version = await service.register_version(session, _registration(ctx, payload, adopted))
        return _result(version)


async def find_model(mlflow: MlflowRest, request: ImportModel) -> MlflowModel:
    """What the request names. Raises NotFound if MLflow does not know it."""
    if request.model_uri is not None:
        return await mlflow_models.find_logged(mlflow, request.model_uri.removeprefix("models:/"))
    if request.run_id is not None:
        return await mlflow_models.find_of_run(mlflow, request.run_id, request.artifact_path)
    name = request.mlflow_model or ""
    if "@" in name:
        name, _, alias = name.rpartition("@")
        return await mlflow_models.find_registered(mlflow, name, alias=alias)
    name, _, version = name.rpartition("/")
    return await mlflow_models.find_registered(mlflow, name, version=version)


async def _dataset(session: AsyncSession, request: ImportModel) -> str | None:
    wanted = request.evaluation
    return (
        None if wanted is None else await dataset_link.find_version_id(session, wanted.dataset, wanted.dataset_version)
    )


async def _adopt(ctx: JobContext, request: ImportModel, dataset_version_id: str | None, folder: Path) -> Adopted:
    await ctx.progress(Progress("fetching", message="Reading the model from MLflow"))
    origin = await find_model(ctx.services.mlflow, request)
    directory, output = folder / "model", folder / "output"
    output.mkdir()
    await mlflow_models.download_model(ctx.services.mlflow, origin.artifact_path, directory, BundleLimits())
    evaluation = None
    if request.evaluation is not None:
        parts = await Material(ctx.services, folder).parts(dataset_version_id)
        evaluation = {"parts": parts, "target": request.evaluation.target, "task": request.evaluation.task}
    found = await ctx.compute(
        _ENTRY,
        {
            "directory": str(directory),
            "output": str(output),
            "allow_pickle": request.allow_pickle,
            "evaluation": evaluation,
        },
        Reach(read=(folder,), write=(output,), foreign=request.allow_pickle),
    )
    adoption = returned_record(Adoption, found)
    return Adopted(origin, adoption, dataset_version_id, await _upload(ctx, adoption, output))


async def _upload(ctx: JobContext, found: Adoption, output: Path) -> str | None:
    """Bundle and holdout into the store, under their content's address; gives the holdout's key."""
    await ctx.progress(Progress("storing", message="Storing the bundle"))
    store, bundle = ctx.services.store, found.bundle
    path = await asyncio.to_thread(returned_file, bundle.path, output, bundle.sha256, bundle.size_bytes)
    await store.upload(bundle_key(bundle.sha256), path)
    if found.holdout is None:
        return None
    path = returned_file(found.holdout, output)
    key = f"holdouts/{sha256_of_file(path)}.parquet"
    await store.upload(key, path)
    return key


def _registration(ctx: JobContext, payload: ImportPayload, adopted: Adopted) -> NewModelVersion:
    found = adopted.found
    return NewModelVersion(
        model_name=payload.model_name,
        created_by=ctx.principal,
        job_id=ctx.job_id,
        flavor=PYFUNC,
        source="import",
        signature=found.signature.model_dump(),
        bundle_sha256=found.bundle.sha256,
        bundle_size_bytes=found.bundle.size_bytes,
        task=found.task,
        target=found.target,
        classes=found.classes,
        metric=found.metric,
        metrics={name: each.model_dump() for name, each in found.metrics.items()},
        warnings=[each.model_dump() for each in found.warnings],
        holdout_key=adopted.holdout_key,
        dataset_version_id=adopted.dataset_version_id,
        mlflow_run_id=adopted.origin.run_id,
        mlflow_model_uri=adopted.origin.model_uri,
        code_allowed_by=ctx.principal if found.runs_code else None,
    )


def _result(version: ModelVersion) -> dict[str, Any]:
    return {"model_name": version.model_name, "number": version.number, "version_id": version.id}
