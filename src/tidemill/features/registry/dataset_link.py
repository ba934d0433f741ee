"""What the registry needs of datasets: parts to score on, and pins that keep them."""

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.datasets import service as datasets


def _dependent(version: ModelVersion) -> str:
    return f"model/{version.model_name}:{version.number}"


async def pin(session: AsyncSession, version: ModelVersion) -> None:
    """Keep the version's dataset version, if it has one, from being deleted. Raises NotFound if it is gone."""
    if version.dataset_version_id is not None:
        await datasets.pin(session, version.dataset_version_id, _dependent(version))


async def unpin(session: AsyncSession, version: ModelVersion) -> None:
    """Let the version's dataset version go."""
    if version.dataset_version_id is not None:
        await datasets.unpin(session, version.dataset_version_id, _dependent(version))


async def find_version_id(session: AsyncSession, name: str, number: int | None) -> str:
    """Id of a dataset's version, of the newest when ``number`` is None. Raises NotFound."""
    return (await datasets.get_version(session, name, number)).id


async def download_parts(sessions: SessionFactory, store: ObjectStore, version_id: str, folder: Path) -> list[Path]:
    """Local Parquet parts of a dataset version, in order. Raises NotFound."""
    async with transaction(sessions) as session:
        version = await datasets.get_by_id(session, version_id)
    return await datasets.download_parts(store, version, folder)
