"""Datasets: push, look, compare, download, delete."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tidemill.client.jobs import Jobs, OnEvent
from tidemill.client.pages import iterate
from tidemill.client.transport import Transport
from tidemill.kit.errors import Invalid, NotFound, Unavailable
from tidemill.kit.names import NAME_PATTERN
from tidemill.schemas.datasets import Dataset, IngestOptions, Version, VersionAccepted, VersionDiff, VersionSummary

_CHUNK_BYTES = 2**20
_DOWNLOAD_TIMEOUT_SECONDS = 120
OnBytes = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


class Datasets:
    """``tidemill.datasets``: datasets and their versions."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def push(
        self,
        file: str | os.PathLike[str],
        name: str,
        *,
        options: IngestOptions | None = None,
        new_contract: bool = False,
        timeout_seconds: float | None = None,
        on_event: OnEvent | None = None,
    ) -> Version:
        """Upload ``file`` and wait until it is a version of the dataset ``name``; the same bytes give the same version.

        options: what cannot or shall not be detected from the file. new_contract: accept columns and types that differ
        from the dataset's. Raises Invalid with every offending column and row, DeadlineExceeded after
        ``timeout_seconds`` (the job goes on then), Unavailable.
        """
        accepted = self.upload(file, name, options=options, new_contract=new_contract)
        number = accepted.number
        if accepted.job_id is not None:
            number = int(self._jobs.result(accepted.job_id, timeout_seconds, on_event)["number"])
        return self.version(name, number)

    def upload(
        self,
        file: str | os.PathLike[str],
        name: str,
        *,
        options: IngestOptions | None = None,
        new_contract: bool = False,
        on_bytes: OnBytes | None = None,
    ) -> VersionAccepted:
        """Upload ``file`` without waiting for the job that reads it."""
        path = Path(file)
        if not path.is_file():
            raise NotFound("file_not_found", f"There is no file {path}.")
        size_bytes = path.stat().st_size
        answer = self._transport.request(
            "POST",
            f"{_address(name)}/versions",
            params={"filename": path.name, "new_contract": new_contract, **_query(options or IngestOptions())},
            content=_Chunks(path, size_bytes, on_bytes),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)},
        )
        return VersionAccepted.model_validate(answer)

    def list(self) -> Iterator[Dataset]:
        """All datasets by name, page by page."""
        return iterate(self._transport, "/api/v1/datasets", Dataset)

    def get(self, name: str) -> Dataset:
        """The dataset with its contract. Raises NotFound."""
        return Dataset.model_validate(self._transport.request("GET", _address(name)))

    def versions(self, name: str) -> Iterator[VersionSummary]:
        """Versions, newest first, page by page. Raises NotFound."""
        return iterate(self._transport, f"{_address(name)}/versions", VersionSummary)

    def version(self, name: str, number: int | None = None) -> Version:
        """A version with schema and profile; the newest without ``number``. Raises NotFound."""
        path = f"{_address(name)}/versions/{'latest' if number is None else number}"
        return Version.model_validate(self._transport.request("GET", path))

    def diff(self, name: str, before: int, after: int) -> VersionDiff:
        """What differs between two versions. Raises NotFound."""
        path = f"{_address(name)}/versions/{before}/diff/{after}"
        return VersionDiff.model_validate(self._transport.request("GET", path))

    def download(
        self,
        name: str,
        target: str | os.PathLike[str],
        number: int | None = None,
        *,
        raw: bool = False,
        on_bytes: OnBytes | None = None,
    ) -> Sequence[Path]:
        """Write a version to the file ``target``, as Parquet or as the raw file it was.

        A version of several parts becomes a folder ``target`` with one file each, which Parquet readers take as one
        table. Files appear only when they are whole and their SHA-256 is right. Gives what was written.
        """
        version = self.version(name, number)
        base = f"{_address(name)}/versions/{version.number}"
        path = Path(target)
        if raw:
            return [self._fetch(f"{base}/raw", path, version.sha256, on_bytes)]
        if len(version.parts) == 1:
            return [self._fetch(f"{base}/parts/0", path, version.parts[0].sha256, on_bytes)]
        path.mkdir(parents=True, exist_ok=True)
        return [
            self._fetch(f"{base}/parts/{index}", path / f"part-{index:05d}.parquet", part.sha256, on_bytes)
            for index, part in enumerate(version.parts)
        ]

    def delete(self, name: str, number: int | None = None) -> None:
        """Delete a version, or the dataset with all of them. Raises NotFound, Conflict while something needs it."""
        suffix = "" if number is None else f"/versions/{number}"
        self._transport.request("DELETE", f"{_address(name)}{suffix}")

    def _fetch(self, path: str, target: Path, sha256: str, on_bytes: OnBytes | None) -> Path:
        # Nobody else's: what lies beside the target may be what a broken `tidemill predict` left.
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        try:
            with self._transport.stream("GET", path, read_timeout_seconds=_DOWNLOAD_TIMEOUT_SECONDS) as response:
                received = _write(response, part, on_bytes)
            if received != sha256:
                raise Unavailable("download_damaged", "The download was damaged on the way; try again.")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target


class _Chunks:
    """A file as the body of a request, read piece by piece."""

    def __init__(self, path: Path, size_bytes: int, on_bytes: OnBytes | None) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._on_bytes = on_bytes

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        with self._path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > self._size_bytes:
                    raise Invalid("file_changed", "The file grew while it was uploaded.")
                yield chunk
                if self._on_bytes is not None:
                    self._on_bytes(done, self._size_bytes)


def _address(name: str) -> str:
    """Raises Invalid for what can be no name, such as one with a slash, which would be another address."""
    if not re.fullmatch(NAME_PATTERN, name):
        detail = "Names of datasets have lower-case letters, digits, dots, dashes and underscores, at most 63."
        raise Invalid("name_invalid", detail)
    return f"/api/v1/datasets/{name}"


def _query(options: IngestOptions) -> dict[str, Any]:
    fields = options.model_dump(mode="json", exclude={"types"}, exclude_defaults=True)
    declared: Sequence[str] = [f"{column}={kind}" for column, kind in options.types.items()]
    return {**fields, **({"type": declared} if declared else {})}


def _write(response: httpx.Response, path: Path, on_bytes: OnBytes | None) -> str:
    """SHA-256 of what was received."""
    digest, done = hashlib.sha256(), 0
    size_bytes = int(response.headers.get("content-length", 0))
    with path.open("xb") as out:
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            out.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done, size_bytes)
    return digest.hexdigest()
