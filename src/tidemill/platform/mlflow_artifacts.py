"""Where MLflow's server opens artifacts: in the platform's object store, whatever location a run or model claims.

Whoever may write to MLflow may say where the artifacts of an experiment lie: in any folder of this machine, in any
bucket. The server would read and write there as the platform's user, with the platform's credentials.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from mlflow.utils.file_utils import local_file_uri_to_path

_OF_FILES = ("", "file")
_OTHER_NAMES = {"runs", "models"}
"""Schemes that stand for an address of another scheme, which is then looked at."""
_PROXIED = "mlflow-artifacts"


def keep_within(destination: str) -> None:
    """From now on this process opens only what lies in ``destination`` (``file:///...`` or ``s3://...``).

    Anything else raises `MlflowException` (403, ``PERMISSION_DENIED``).
    """
    repositories: dict[str, Any] = get_registered_artifact_repositories()
    for scheme in repositories.keys() - _OTHER_NAMES:
        repositories[scheme] = _guarded(repositories[scheme], destination)


def is_within(location: str, destination: str) -> bool:
    """Whether ``location`` is ``destination`` or lies below it, links followed; also MLflow's own name for it."""
    try:
        found, allowed = urlsplit(location), urlsplit(destination)
    except ValueError:
        return False
    if found.scheme == _PROXIED:
        return not found.netloc  # with a host it would be another server's
    if found.scheme in _OF_FILES and allowed.scheme in _OF_FILES:
        # MLflow takes some locations for a path where others see an address with a query: then both must agree.
        readings = (_folder(found.path), Path(_path_of_mlflow(location)).resolve())
        whole = not (found.netloc or found.query or found.fragment)
        return whole and all(folder.is_relative_to(_folder(allowed.path)) for folder in readings)
    if (found.scheme, found.netloc) != (allowed.scheme, allowed.netloc) or found.query or found.fragment:
        return False
    wanted, parts = (address.path.strip("/").split("/") for address in (allowed, found))
    return parts[: len(wanted)] == wanted and not {"", ".", ".."} & set(parts)


_path_of_mlflow: Callable[[str], str] = local_file_uri_to_path


def _folder(path: str) -> Path:
    return Path(unquote(path)).resolve()


def _guarded(repository: Callable[..., Any], destination: str) -> Callable[..., Any]:
    def opened(artifact_uri: str, *arguments: Any, **named: Any) -> Any:
        if not is_within(artifact_uri, destination):
            raise MlflowException("These artifacts do not lie in the platform's object store.", PERMISSION_DENIED)
        return repository(artifact_uri, *arguments, **named)

    return opened
