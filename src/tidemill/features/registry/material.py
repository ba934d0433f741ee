"""Brings what a computing child needs to local files: bundles, holdout, dataset parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import named_sha256
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.registry import dataset_link
from tidemill.jobs.definition import WorkerServices
from tidemill.sandbox.policy import Reach


@dataclass(frozen=True)
class Material:
    """Downloads into one folder, each object once."""

    services: WorkerServices
    folder: Path

    async def contestant(self, version: ModelVersion) -> dict[str, Any]:
        """A version as `tidemill.training.scoring` reads it, with its bundle as a local file."""
        return {
            "number": version.number,
            "bundle": str(await self._object(bundle_key(version.bundle_sha256))),
            "bundle_sha256": version.bundle_sha256,
            "flavor": version.flavor,
            "runs_code": version.code_allowed_by is not None,
            "task": version.task,
            "target": version.target,
            "classes": version.classes,
            "signature": version.signature,
            "dataset_version_id": version.dataset_version_id,
            "holdout": None if version.holdout_key is None else str(await self._object(version.holdout_key)),
        }

    def reach(self, *versions: ModelVersion | None) -> Reach:
        """Reads what was brought here. A version that needed somebody's permission may run code of its maker."""
        foreign = any(version is not None and version.code_allowed_by is not None for version in versions)
        return Reach(read=(self.folder,), foreign=foreign)

    async def parts(self, dataset_version_id: str | None) -> list[str]:
        """Local Parquet parts of a dataset version, in order; none without a dataset."""
        if dataset_version_id is None:
            return []
        target = self.folder / f"parts-{dataset_version_id}"
        target.mkdir(exist_ok=True)
        services = self.services
        paths = await dataset_link.download_parts(services.sessions, services.store, dataset_version_id, target)
        return [str(path) for path in paths]

    async def _object(self, key: str) -> Path:
        path = self.folder / key.replace("/", "_")
        if not path.exists():
            await self.services.store.download(key, path, named_sha256(key))
        return path
