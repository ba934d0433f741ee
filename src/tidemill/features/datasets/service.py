"""What can be done with datasets: take uploads in, finish, find, pin and delete versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.adapters.object_store import ObjectStore, StoredObject
from tidemill.db.tables.datasets import Dataset, DatasetVersion
from tidemill.features.datasets import queries
from tidemill.features.datasets.keys import raw_key
from tidemill.features.datasets.kinds import INGEST, IngestPayload
from tidemill.features.datasets.states import VersionState
from tidemill.jobs import service as jobs
from tidemill.jobs.service import JobRequest
from tidemill.jobs.states import FINAL
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, NotFound, Problem
from tidemill.kit.hashing import sha256_of_json
from tidemill.schemas.datasets import IngestOptions, VersionAccepted


@dataclass(frozen=True)
class Upload:
    """A raw file that lies in the object store already."""

    dataset: str
    filename: str
    stored: StoredObject
    options: IngestOptions
    new_contract: bool
    principal: str


@dataclass(frozen=True)
class Ingested:
    """What became of a raw file; the parts lie in the object store already."""

    table_schema: dict[str, Any]
    row_count: int
    parts: list[dict[str, Any]]
    profile: dict[str, Any]
    source: dict[str, Any]
    warnings: list[str]


async def accept(session: AsyncSession, upload: Upload) -> VersionAccepted:
    """The version that the same bytes and options have already, ready or in the making; else a new one and its job."""
    dataset = await queries.lock_or_create(session, upload.dataset)
    fingerprint = _fingerprint(upload)
    known = await queries.by_fingerprint(session, dataset.id, fingerprint)
    if known is not None and await is_alive(session, known):
        return _accepted(known)
    if known is not None:
        await session.delete(known)
        await session.flush()
    version = _new_version(dataset, upload, fingerprint)
    session.add(version)
    await session.flush()
    request = JobRequest(principal=upload.principal, subject=f"dataset/{dataset.name}", priority=jobs.SOON)
    job = await jobs.enqueue(session, INGEST, IngestPayload(version_id=version.id), request)
    version.job_id = job.id
    await session.flush()
    return _accepted(version)


def _fingerprint(upload: Upload) -> str:
    """An option that came later counts only where it is used: bytes that were pushed before stay the same version."""
    options = upload.options.model_dump(mode="json")
    if options["quote"] is None:
        del options["quote"]
    return sha256_of_json({"sha256": upload.stored.sha256, "options": options})


async def is_alive(session: AsyncSession, version: DatasetVersion) -> bool:
    """Ready, or with a job that has not ended."""
    if version.state == VersionState.READY:
        return True
    try:
        return version.job_id is not None and (await jobs.get(session, version.job_id)).status not in FINAL
    except NotFound:
        return False


def _new_version(dataset: Dataset, upload: Upload, fingerprint: str) -> DatasetVersion:
    return DatasetVersion(
        id=ids.new_id(ids.DATASET_VERSION),
        dataset_id=dataset.id,
        dataset_name=dataset.name,
        state=VersionState.PENDING,
        fingerprint=fingerprint,
        sha256=upload.stored.sha256,
        size_bytes=upload.stored.size_bytes,
        filename=upload.filename,
        options=upload.options.model_dump(mode="json"),
        new_contract=upload.new_contract,
        parts=[],
        warnings=[],
        created_at=utc_now(),
        created_by=upload.principal,
    )


def _accepted(version: DatasetVersion) -> VersionAccepted:
    ready = version.state == VersionState.READY
    return VersionAccepted(
        version_id=version.id,
        dataset=version.dataset_name,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        state="ready" if ready else "pending",
        number=version.number,
        job_id=None if ready else version.job_id,
    )


async def finish(
    session: AsyncSession, version_id: str, ingested: Ingested, contract: dict[str, Any] | None
) -> DatasetVersion | None:
    """Give the version its number. None if the contract is not ``contract`` any more, so that it must be checked anew.

    Raises NotFound if the version was removed meanwhile.
    """
    version = await get_by_id(session, version_id)
    dataset = await queries.lock(session, version.dataset_id)
    assert dataset is not None
    if not version.new_contract and dataset.contract != contract:
        return None
    if version.new_contract or dataset.contract is None:
        dataset.contract = ingested.table_schema
    dataset.last_number += 1
    dataset.updated_at = utc_now()
    version.number = dataset.last_number
    version.state = VersionState.READY
    version.ready_at = utc_now()
    version.table_schema, version.profile = ingested.table_schema, ingested.profile
    version.source, version.warnings = ingested.source, ingested.warnings
    version.parts, version.row_count = ingested.parts, ingested.row_count
    await session.flush()
    return version


async def discard(session: AsyncSession, version_id: str) -> None:
    """Remove a version that was refused; a ready one stays."""
    version = await session.get(DatasetVersion, version_id)
    if version is not None and version.state == VersionState.PENDING:
        await session.delete(version)


async def get_by_id(session: AsyncSession, version_id: str) -> DatasetVersion:
    """A version in any state. Raises NotFound."""
    version = await session.get(DatasetVersion, version_id)
    if version is None:
        raise NotFound("dataset_version_not_found", "There is no such dataset version.")
    return version


async def get_version(session: AsyncSession, name: str, number: int | None = None) -> DatasetVersion:
    """A ready version; the newest without ``number``. Raises NotFound."""
    version = await queries.version(session, name, number)
    if version is None and number is not None and await queries.version(session, name, None) is not None:
        raise NotFound("dataset_version_not_found", "The dataset has no such version.")
    if version is None:
        raise NotFound("dataset_not_found", "There is no such dataset.")
    return version


async def contract_of(session: AsyncSession, version: DatasetVersion) -> dict[str, Any] | None:
    """What the version must fulfil; None if it is free."""
    dataset = await session.get(Dataset, version.dataset_id)
    return None if version.new_contract or dataset is None else dataset.contract


async def pin(session: AsyncSession, version_id: str, dependent: str, job_id: str | None = None) -> None:
    """Keep a ready version from being deleted as long as ``dependent`` exists; twice is once. Raises NotFound.

    With ``job_id``, the pin holds until that job has ended, however it ends, and needs no `unpin`.
    """
    version = await get_by_id(session, version_id)
    await queries.lock(session, version.dataset_id)
    if await session.get(DatasetVersion, version_id, populate_existing=True) is None:
        raise NotFound("dataset_version_not_found", "There is no such dataset version.")
    await queries.insert_pin(session, version_id, dependent, job_id)


async def unpin(session: AsyncSession, version_id: str, dependent: str) -> None:
    """The opposite of `pin`; no error if it was not pinned."""
    await queries.delete_pin(session, version_id, dependent)


async def delete(session: AsyncSession, name: str, number: int) -> None:
    """Delete a version; its bytes are collected later. Raises NotFound, and Conflict while something depends on it."""
    version = await get_version(session, name, number)
    dataset = await queries.lock(session, version.dataset_id)
    pinned_by = await queries.dependents(session, version.id)
    if pinned_by:
        problems = [Problem(dependent, "dependent", "Depends on this version.") for dependent in pinned_by]
        raise Conflict("dataset_version_in_use", f"Version {number} is in use: {', '.join(pinned_by[:5])}.", problems)
    await queries.delete_pins(session, version.id)  # those of jobs that have ended
    await session.delete(version)
    await session.flush()
    if dataset is not None and await queries.version(session, name, None) is None:
        dataset.contract = None


async def delete_all(session: AsyncSession, name: str) -> int:
    """Delete every version; all or none. Raises as `delete`."""
    newest = await get_version(session, name)
    await queries.lock(session, newest.dataset_id)
    numbers = await queries.numbers(session, name)
    for number in numbers:
        assert number is not None
        await delete(session, name, number)
    return len(numbers)


async def newest_keys(session: AsyncSession, limit: int) -> list[str]:
    """Objects that the newest versions need, at most ``limit``: by them a store is known to be the right one."""
    return [raw_key(sha256) for sha256 in await queries.newest_sha256s(session, limit)]


async def download_parts(store: ObjectStore, version: DatasetVersion, directory: Path) -> list[Path]:
    """The version's Parquet files in ``directory``, in the order of the rows; those that lie there stay.

    Raises Unavailable for one that is not as it was written.
    """
    paths = []
    for index, part in enumerate(version.parts):
        path = directory / f"part-{index:05d}.parquet"
        if not path.exists():
            await store.download(str(part["key"]), path, str(part["sha256"]))
        paths.append(path)
    return paths


def part_of(version: DatasetVersion, index: int) -> dict[str, Any]:
    """Raises NotFound."""
    parts: Sequence[dict[str, Any]] = version.parts
    if index >= len(parts):
        raise NotFound("dataset_part_not_found", f"The version has {len(parts)} parts.")
    return parts[index]
