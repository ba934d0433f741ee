"""MLflow's registry of models: which version holds which model, and where its aliases point."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.adapters.mlflow_rest import MlflowRest

_MOST_PAGES = 100
_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """``versions``: model uri (``models:/m-...``) to version; ``aliases``: alias to version."""

    versions: Mapping[str, str]
    aliases: Mapping[str, str]


async def read(mlflow: MlflowRest, name: str) -> RegisteredModel:
    """What MLflow has under ``name``. Raises NotFound."""
    model = (await mlflow.get("registered-models/get", name=name))["registered_model"]
    aliases = {found["alias"]: str(found["version"]) for found in model.get("aliases", [])}
    return RegisteredModel(await _versions(mlflow, name), aliases)


async def point(mlflow: MlflowRest, name: str, alias: str, version: str | None) -> None:
    """Point ``alias`` at ``version``, or remove it (None); doing it again does no harm."""
    if version is None:
        await mlflow.delete("registered-models/alias", {"name": name, "alias": alias})
    else:
        await mlflow.post("registered-models/alias", {"name": name, "alias": alias, "version": version})


async def _versions(mlflow: MlflowRest, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    params: dict[str, Any] = {"filter": f"name = '{name}'", "max_results": _PAGE_SIZE}
    for _ in range(_MOST_PAGES):
        page = await mlflow.get("model-versions/search", **params)
        for version in page.get("model_versions", []):
            model_id = version.get("model_id")
            found[f"models:/{model_id}" if model_id else str(version.get("source"))] = str(version["version"])
        if not page.get("next_page_token"):
            break
        params["page_token"] = page["next_page_token"]
    return found
