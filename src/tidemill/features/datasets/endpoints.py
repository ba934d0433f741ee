"""Routes of datasets and their versions."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from tidemill.adapters.object_store import ObjectStore, StoredObject
from tidemill.auth.principal import Principal
from tidemill.auth.scopes import Scope
from tidemill.db.engine import transaction
from tidemill.deps import (
    ServicesDep,
    SessionDep,
    SessionsDep,
    Standing,
    StoreDep,
    UploadsDep,
    require,
    standing,
)
from tidemill.features.datasets import queries, service, views
from tidemill.features.datasets.keys import raw_key, upload_key
from tidemill.features.datasets.service import Upload
from tidemill.features.jobs.service import JobRoom
from tidemill.kit import ids
from tidemill.kit.disk_room import within_disk_room
from tidemill.kit.errors import Invalid, NotFound, Problem
from tidemill.kit.names import NAME_PATTERN
from tidemill.kit.streams import begun
from tidemill.schemas import datasets as wire
from tidemill.schemas.base import IN_DIGITS
from tidemill.schemas.page import Page, PageQuery, encode_token
from tidemill.web.document import ENTITY_TAG, JOB_LOCATION

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])
Reader = Annotated[Principal, Depends(require(Scope.DATASETS_READ))]
Downloader = Annotated[Standing, Depends(standing(Scope.DATASETS_READ))]
Uploader = Annotated[Standing, Depends(standing(Scope.DATASETS_WRITE))]
Writer = Annotated[Principal, Depends(require(Scope.DATASETS_WRITE))]
DatasetName = Annotated[str, Path(pattern=NAME_PATTERN)]
Number = Annotated[int, Path(ge=1, le=999_999_999), IN_DIGITS]
PageDep = Annotated[PageQuery, Query()]
_PARQUET_MEDIA_TYPE = "application/vnd.apache.parquet"
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": ENTITY_TAG,
    }
}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": "The raw file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("", operation_id="datasets_list")
async def list_datasets(page: PageDep, session: SessionDep, _principal: Reader) -> Page[wire.Dataset]:
    """Datasets by name."""
    found = await queries.datasets_page(session, page.page_size, page.after_text())
    more = encode_token([found.items[-1].dataset.name]) if found.more else None
    return Page[wire.Dataset](items=[views.dataset_view(item) for item in found.items], next_page_token=more)


@router.get("/{name}", operation_id="datasets_get")
async def get_dataset(name: DatasetName, session: SessionDep, _principal: Reader) -> wire.Dataset:
    """A dataset with its contract. 404 if it has no version."""
    found = await queries.dataset(session, name)
    if found is None:
        raise NotFound("dataset_not_found", "There is no such dataset.")
    return views.dataset_view(found)


@router.post(
    "/{name}/versions",
    operation_id="datasets_versions_create",
    status_code=202,
    responses={
        200: {"model": wire.VersionAccepted, "description": "These bytes are a version already"},
        202: {"headers": JOB_LOCATION},
    },
    openapi_extra=_UPLOAD_BODY,
    dependencies=[JobRoom],
)
async def create_version(
    name: DatasetName,
    *,
    query: Annotated[wire.VersionQuery, Query()],
    request: Request,
    response: Response,
    services: ServicesDep,
    uploader: Uploader,
    uploads: UploadsDep,
) -> wire.VersionAccepted:
    """Push a file: the body is the raw file, streamed. 202 with the job that reads it; 200 if the same bytes, read the
    same way, are a version already. The job's error names every offending column and row of a file that is refused."""
    options, limits = _options(query), services.settings.api
    with uploads.one(uploader.principal.key_id, limits.max_uploads):
        content = within_disk_room(uploader.holding(_chunks(request)), services.store.folder)
        stored = await _store_raw(content, services.store, limits.max_upload_bytes)
    upload = Upload(name, query.filename, stored, options, query.new_contract, uploader.principal.key_id)
    async with transaction(services.sessions) as session:
        accepted = await service.accept(session, upload)
    if accepted.job_id is None:
        response.status_code = 200
    else:
        response.headers["Location"] = f"/api/v1/jobs/{accepted.job_id}"
    return accepted


async def _store_raw(content: AsyncIterator[bytes], store: ObjectStore, limit_bytes: int) -> StoredObject:
    """The body under its content address; an upload that breaks off leaves nothing."""
    upload = upload_key(ids.new_id(ids.UPLOAD))
    stored = await store.put_stream(upload, content, limit_bytes)
    if stored.size_bytes == 0:
        await store.delete([upload])
        raise Invalid("file_empty", "The file is empty.")
    await store.move(upload, raw_key(stored.sha256))
    return stored


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


def _options(query: wire.VersionQuery) -> wire.IngestOptions:
    types: dict[str, str] = {}
    for index, text in enumerate(query.type):
        column, separator, kind = text.rpartition("=")
        if not separator or not column:
            problem = Problem(f"/query/type/{index}", "type_malformed", "Written as COLUMN=TYPE.")
            raise Invalid("type_malformed", "A declared type is written as COLUMN=TYPE.", [problem])
        types[column] = kind
    fields = query.model_dump(exclude={"filename", "type", "new_contract"})
    return wire.IngestOptions(**fields, types=types)


@router.get("/{name}/versions", operation_id="datasets_versions_list")
async def list_versions(
    name: DatasetName, page: PageDep, session: SessionDep, _principal: Reader
) -> Page[wire.VersionSummary]:
    """Ready versions, newest first. 404 if there is none."""
    await service.get_version(session, name)
    found = await queries.versions_page(session, name, page.page_size, page.after_number())
    more = encode_token([found.items[-1].number or 0]) if found.more else None
    return Page[wire.VersionSummary](items=[views.summary_view(item) for item in found.items], next_page_token=more)


@router.get("/{name}/versions/{number}", operation_id="datasets_versions_get")
async def get_version(
    name: DatasetName, number: Number | Literal["latest"], session: SessionDep, _principal: Reader
) -> wire.Version:
    """A version with schema and profile; ``latest`` for the newest."""
    version = await service.get_version(session, name, None if number == "latest" else number)
    return views.version_view(version, await queries.dependents(session, version.id))


@router.get("/{name}/versions/{before}/diff/{after}", operation_id="datasets_versions_diff")
async def diff_versions(
    name: DatasetName, before: Number, after: Number, session: SessionDep, _principal: Reader
) -> wire.VersionDiff:
    """What differs between two versions: columns, rows, figures of the profiles."""
    old = await service.get_version(session, name, before)
    return views.diff_view(old, await service.get_version(session, name, after))


@router.get(
    "/{name}/versions/{number}/raw",
    operation_id="datasets_versions_raw",
    response_class=StreamingResponse,
    responses=_FILE,
)
async def download_raw(
    name: DatasetName, number: Number, sessions: SessionsDep, store: StoreDep, downloader: Downloader
) -> StreamingResponse:
    """The raw file as it was pushed, streamed."""
    async with transaction(sessions) as session:
        version = await service.get_version(session, name, number)
    stored = StoredObject(raw_key(version.sha256), version.sha256, version.size_bytes)
    return await _download(store, stored, downloader, version.filename, "application/octet-stream")


@router.get(
    "/{name}/versions/{number}/parts/{index}",
    operation_id="datasets_versions_part",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {_PARQUET_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "headers": ENTITY_TAG,
        }
    },
)
async def download_part(
    name: DatasetName,
    number: Number,
    index: Annotated[int, Path(ge=0, le=99_999), IN_DIGITS],
    sessions: SessionsDep,
    store: StoreDep,
    downloader: Downloader,
) -> StreamingResponse:
    """One Parquet part of a version, streamed; versions of less than some 256 MiB have one."""
    async with transaction(sessions) as session:
        version = await service.get_version(session, name, number)
    part = service.part_of(version, index)
    stored = StoredObject(part["key"], part["sha256"], part["size_bytes"])
    return await _download(store, stored, downloader, f"{name}-{number}-{index:05d}.parquet", _PARQUET_MEDIA_TYPE)


async def _download(
    store: ObjectStore, stored: StoredObject, downloader: Standing, filename: str, media_type: str
) -> StreamingResponse:
    """The size and the first piece are asked first, so that a missing or small damaged object is an error and not a
    broken answer; a large damaged one breaks off before its end."""
    size_bytes = await store.size(stored.key)
    pieces = await begun(store.checked_stream(stored.key, stored.sha256))
    ascii_name = re.sub(r"[^A-Za-z0-9._-]", "_", filename)
    headers = {
        "Content-Length": str(size_bytes),
        "ETag": f'"{stored.sha256}"',
        "Content-Disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(filename, safe='')}",
    }
    return StreamingResponse(downloader.holding(pieces), headers=headers, media_type=media_type)


@router.delete("/{name}/versions/{number}", operation_id="datasets_versions_delete", status_code=204)
async def delete_version(name: DatasetName, number: Number, session: SessionDep, _principal: Writer) -> None:
    """Delete a version. 409 while something, such as a model, depends on it."""
    await service.delete(session, name, number)


@router.delete("/{name}", operation_id="datasets_delete", status_code=204)
async def delete_dataset(name: DatasetName, session: SessionDep, _principal: Writer) -> None:
    """Delete every version. 409, and nothing deleted, while something depends on one of them."""
    await service.delete_all(session, name)
