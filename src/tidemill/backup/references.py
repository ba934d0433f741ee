"""Which objects the rows of the platform's database name. A table that names objects is listed here."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.adapters.bundles import bundle_key
from tidemill.db.tables.datasets import DatasetVersion
from tidemill.db.tables.experiments import Run
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.datasets.keys import UPLOADS, raw_key

PASSING = UPLOADS
"""Objects under this prefix belong to requests under way; no row names them."""
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class NamedObject:
    key: str
    size_bytes: int | None
    """Where the row knows it."""
    sha256: str | None
    """Where the row or the key tells it."""


async def named_objects(connection: AsyncConnection) -> AsyncIterator[NamedObject]:
    """Every object that a row needs; one that several rows need comes several times."""
    async for named in _of_datasets(connection):
        yield named
    async for named in _of_models(connection):
        yield named
    async for named in _of_runs(connection):
        yield named


async def _of_datasets(connection: AsyncConnection) -> AsyncIterator[NamedObject]:
    query = select(DatasetVersion.sha256, DatasetVersion.size_bytes, DatasetVersion.parts)
    async for sha256, size_bytes, parts in await connection.stream(query):
        yield NamedObject(raw_key(sha256), size_bytes, sha256)
        for part in parts:
            yield NamedObject(part["key"], part["size_bytes"], part["sha256"])


async def _of_models(connection: AsyncConnection) -> AsyncIterator[NamedObject]:
    query = select(ModelVersion.bundle_sha256, ModelVersion.bundle_size_bytes, ModelVersion.holdout_key)
    async for sha256, size_bytes, holdout in await connection.stream(query.where(ModelVersion.deleted_at.is_(None))):
        yield NamedObject(bundle_key(sha256), size_bytes, sha256)
        if holdout is not None:
            yield NamedObject(holdout, None, _address(holdout))


async def _of_runs(connection: AsyncConnection) -> AsyncIterator[NamedObject]:
    async for report, figures in await connection.stream(select(Run.report_key, Run.figures)):
        if report is not None:
            yield NamedObject(report, None, _address(report))
        for figure in figures or ():
            yield NamedObject(figure["key"], figure["size_bytes"], _address(figure["key"]))


def _address(key: str) -> str | None:
    """The SHA-256 in a key such as ``reports/<sha256>.json``."""
    stem = key.rpartition("/")[2].partition(".")[0]
    is_address = len(stem) == _SHA256_DIGITS and set(stem) <= set("0123456789abcdef")
    return stem if is_address else None
