"""Models that MLflow holds: what a name means, and their files through the server's artifact proxy.

Since MLflow 3 a model is an entity of its own (``models:/m-...``); runs and versions of MLflow's registry point to it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tidemill.adapters.bundles import BundleLimits
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.kit.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable, Unsupported

_PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
_ATTEMPTS = 3
_FIRST_WAIT_SECONDS = 0.5
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """Where MLflow keeps one model."""

    model_uri: str
    """``models:/m-...``, or ``runs:/...`` for a model that an older client logged."""
    artifact_path: str
    """Folder below ``mlflow-artifacts:/``."""
    run_id: str | None


async def find_logged(mlflow: MlflowRest, model_id: str) -> MlflowModel:
    """The logged model ``m-...``."""
    info = (await mlflow.get(f"logged-models/{model_id}"))["model"]["info"]
    return MlflowModel(f"models:/{model_id}", proxied_path(info["artifact_uri"]), info.get("source_run_id") or None)


async def find_registered(mlflow: MlflowRest, name: str, *, version: str = "", alias: str = "") -> MlflowModel:
    """A version of MLflow's registry, by number or by alias."""
    if alias:
        answer = await mlflow.get("registered-models/alias", name=name, alias=alias)
    else:
        answer = await mlflow.get("model-versions/get", name=name, version=version)
    found = answer["model_version"]
    if found.get("model_id"):
        return await find_logged(mlflow, found["model_id"])
    run_id, source = found.get("run_id") or None, str(found["source"])
    if source.startswith("models:/m-"):
        return await find_logged(mlflow, source.removeprefix("models:/"))
    number = str(found["version"])
    uri = (await mlflow.get("model-versions/get-download-uri", name=name, version=number))["artifact_uri"]
    return MlflowModel(f"models:/{name}/{number}", proxied_path(uri), run_id)


async def find_of_run(mlflow: MlflowRest, run_id: str, name: str | None) -> MlflowModel:
    """The model that a run logged; ``name`` picks one of several.

    Raises NotFound (``run_without_model``) if there is none, Conflict (``run_with_several_models``) if it is unclear.
    """
    run = (await mlflow.get("runs/get", run_id=run_id))["run"]
    ids = [output["model_id"] for output in run.get("outputs", {}).get("model_outputs", [])]
    models = [(await mlflow.get(f"logged-models/{model_id}"))["model"]["info"] for model_id in dict.fromkeys(ids)]
    models = [info for info in models if name is None or info.get("name") == name]
    if len(models) > 1:
        raise Conflict("run_with_several_models", "The run logged several models; name one of them.")
    if models:
        return await find_logged(mlflow, models[0]["model_id"])
    return await _of_old_run(mlflow, run["info"], name or "model")


async def _of_old_run(mlflow: MlflowRest, info: dict[str, Any], name: str) -> MlflowModel:
    path = f"{proxied_path(info['artifact_uri'])}/{name}"
    if not any(entry["path"] == "MLmodel" for entry in await mlflow.list_artifacts(path)):
        raise NotFound("run_without_model", "The run logged no model of this name.")
    return MlflowModel(f"runs:/{info['run_id']}/{name}", path, info["run_id"])


def proxied_path(artifact_uri: str) -> str:
    """The path below ``mlflow-artifacts:/``. Raises Unsupported for artifacts that the server does not proxy."""
    parts = urlsplit(artifact_uri)
    if parts.scheme != "mlflow-artifacts":
        raise Unsupported(
            "mlflow_artifacts_not_proxied", "MLflow keeps this model outside its artifact proxy, so it cannot be read."
        )
    path = parts.path
    path = path.removeprefix(_PROXY) if path.startswith(_PROXY) else path.lstrip("/")
    _check_relative(path)
    return path


async def download_model(mlflow: MlflowRest, artifact_path: str, directory: Path, limits: BundleLimits) -> None:
    """Write every file below ``artifact_path`` into ``directory``. Raises TooLarge past a limit.

    What MLflow says of sizes ends it early; what is written counts, whatever was said.
    """
    files, said, written = 0, 0, 0
    async for path, size_bytes in _walk(mlflow, artifact_path):
        files, said = files + 1, said + max(0, size_bytes)
        if files > limits.max_files or said > limits.max_bytes:
            raise TooLarge("model_too_large", "The model has more files or bytes than a bundle may hold.")
        written += await _download(mlflow, f"{artifact_path}/{path}", directory / path, limits.max_bytes - written)
    if not files:
        raise NotFound("model_directory_empty", "MLflow holds no files of this model.")


async def _walk(mlflow: MlflowRest, root: str) -> AsyncIterator[tuple[str, int]]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in await mlflow.list_artifacts(f"{root}/{folder}".rstrip("/")):
            name = str(entry["path"])
            _check_relative(name)
            path = f"{folder}/{name}".lstrip("/")
            if not entry.get("is_dir"):
                yield path, int(entry.get("file_size", 0))
            elif path.count("/") < _MAX_DEPTH:
                waiting.append(path)


async def _download(mlflow: MlflowRest, artifact_path: str, target: Path, limit_bytes: int) -> int:
    """The bytes that were written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            return await _write(mlflow, artifact_path, target, limit_bytes)
        except Unavailable:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


async def _write(mlflow: MlflowRest, artifact_path: str, target: Path, limit_bytes: int) -> int:
    written = 0
    with target.open("wb") as out:
        async for chunk in mlflow.download_artifact(artifact_path):
            written += len(chunk)
            if written > limit_bytes:
                raise TooLarge("model_too_large", "The model has more bytes than a bundle may hold.")
            await asyncio.to_thread(out.write, chunk)
    return written


def _check_relative(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise Invalid("artifact_path_unsafe", "MLflow names an artifact outside the model's folder.")
