"""The object store: S3, a directory or memory, through obstore. Objects are written once under content addresses."""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.exceptions import BaseError, GenericError
from obstore.store import LocalStore, MemoryStore, S3Store
from prometheus_client import CollectorRegistry

from tidemill.adapters.metrics import RequestMetrics, store_metrics
from tidemill.adapters.store_mark import FOREIGN, MARK, StoreMark
from tidemill.kit.errors import Invalid, NotFound, TidemillError, TooLarge, Unavailable
from tidemill.kit.hashing import sha256_of_file
from tidemill.kit.own_files import own_folder
from tidemill.settings.model import ObjectStoreSettings

log = logging.getLogger(__name__)

_CHUNK_BYTES = 8 * 2**20
_MOST_PARTS = 9_000
"""Of one upload; S3 allows 10,000."""
_S3_COPY_BYTES = 5 * 2**30
"""S3 copies no larger object in one request."""
_MARK_SECONDS = 30.0
"""How long the mark of a bucket is believed; a folder's is read each time."""
T = TypeVar("T")
_Backend = S3Store | LocalStore | MemoryStore


@dataclass(frozen=True)
class StoredObject:
    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """An object as a listing names it."""

    key: str
    size_bytes: int
    etag: str | None
    """Changes when the object is written anew; only the same store's ones can be compared."""
    modified_at: datetime


class _NoRanges(Exception):
    """The server does not send parts of objects."""


class ObjectStore:
    """Bytes under keys. Raises NotFound for a missing key and Unavailable when the store is away or full.

    What was written outlives a power cut once the call has returned: S3 answers no sooner, and a directory is synced,
    so that no row of PostgreSQL names bytes that were only in a cache.

    copy_limit_bytes: larger objects are not copied by the store itself; None if it copies any.
    """

    def __init__(
        self, backend: _Backend, metrics: RequestMetrics | None = None, copy_limit_bytes: int | None = None
    ) -> None:
        self._backend = backend
        self._metrics = metrics or store_metrics()
        self._copy_limit_bytes = copy_limit_bytes
        self._identity: StoreMark | None = None

    def identify_by(self, identity: Callable[[], Awaitable[str]]) -> None:
        """Check before each write, and when an object is not found, that this is the store with this identity.

        Then Unavailable is raised for a store that has another mark or none, such as the folder of a disk that is not
        mounted. ``identity`` is asked once; it may raise Unavailable.
        """
        each_time = isinstance(self._backend, LocalStore)
        self._identity = StoreMark(self.mark, identity, 0.0 if each_time else _MARK_SECONDS)

    async def mark(self) -> str | None:
        """The identity that the store itself holds; None if it holds none."""
        try:
            return bytes(await self._guard("get", self._whole(MARK))).decode(errors="replace").strip()
        except NotFound:
            return None

    async def write_mark(self, identity: str) -> None:
        """Mark the store, whatever mark it had. Raises Unavailable where it may not be written to."""
        await self._written("put", obstore.put_async(self._backend, MARK, f"{identity}\n".encode()))
        if isinstance(self._backend, LocalStore):
            root = Path(str(self._backend.prefix))
            await self._written("sync", asyncio.to_thread(_sync, root, root / MARK))

    async def is_right(self) -> bool:
        """False if the store is known to be another one, or none; one that does not answer may be the right one."""
        try:
            await self.ensure_right()
        except Unavailable as error:
            return error.code != FOREIGN
        return True

    async def ensure_right(self) -> None:
        """Look at the mark anew. Raises Unavailable for another store, for none, and for one that does not answer."""
        await self._check_identity(anew=True)

    async def put(self, key: str, data: bytes) -> None:
        await self._check_identity()
        await self._written("put", obstore.put_async(self._backend, key, data))
        await self._settle(key)

    async def get(self, key: str, sha256: str | None = None) -> bytes:
        """A small object; where ``sha256`` says what was written, raises as `checked_stream` does."""
        content = bytes(await self._found("get", self._whole(key)))
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise _damaged(key)
        return content

    async def size(self, key: str) -> int:
        meta = await self._found("head", obstore.head_async(self._backend, key))
        return int(meta["size"])

    async def exists(self, key: str) -> bool:
        try:
            await self.size(key)
        except NotFound:
            return False
        return True

    async def holds(self, key: str) -> bool:
        """Whether the object lies in this store, whosever it is: by this its identity is found out."""
        try:
            await self._guard("head", obstore.head_async(self._backend, key))
        except NotFound:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete what is there; missing keys are no error."""
        await self._check_identity()
        for key in keys:
            try:
                await self._guard("delete", obstore.delete_async(self._backend, key))
            except NotFound:
                continue

    async def older_than(self, prefix: str, moment: datetime, limit: int = 10_000) -> list[str]:
        """At most ``limit`` keys below ``prefix`` that were last written before ``moment``, for collectors."""
        return await self._first_keys(prefix, limit, lambda entry: entry.modified_at < moment)

    async def _first_keys(self, prefix: str, limit: int, wanted: Callable[[StoreEntry], bool]) -> list[str]:
        keys: list[str] = []
        async with contextlib.aclosing(self.entries(prefix)) as entries:
            async for entry in entries:
                if wanted(entry):
                    keys.append(entry.key)
                if len(keys) >= limit:
                    break
        return keys

    async def list(self, prefix: str, limit: int = 10_000) -> list[str]:
        """At most ``limit`` keys below ``prefix``, which ends at a slash."""
        return await self._first_keys(prefix, limit, lambda _: True)

    async def entries(self, prefix: str = "") -> AsyncGenerator[StoreEntry]:
        """Every object below ``prefix``, however many, in bounded memory and no particular order.

        An absence is only believed of the right store: it is looked at before and after.
        """
        await self._check_identity(anew=True)
        try:
            async for batch in obstore.list(self._backend, prefix=prefix.rstrip("/") or None):
                for meta in batch:
                    if meta["path"] == MARK:
                        continue  # belongs to the store, not to what it keeps
                    yield StoreEntry(str(meta["path"]), int(meta["size"]), meta["e_tag"], meta["last_modified"])
        except (BaseError, OSError) as error:
            raise _away(_translated(error)) from error
        await self._check_identity(anew=True)

    async def stream(self, key: str, chunk_bytes: int = _CHUNK_BYTES) -> AsyncIterator[bytes]:
        """An object in pieces, each a request of its own: a large object takes longer than one request may."""
        size_bytes = await self.size(key)
        for start in range(0, size_bytes, chunk_bytes):
            try:
                yield await self._found("get", self._range(key, start, min(start + chunk_bytes, size_bytes)))
            except _NoRanges:
                async for chunk in self._stream_whole(key, chunk_bytes):
                    yield chunk
                return

    async def checked_stream(self, key: str, sha256: str) -> AsyncIterator[bytes]:
        """As `stream`, of an object whose content is known: its last piece comes only if it is what was written.

        Raises Unavailable (``object_damaged``) otherwise.
        """
        digest, held = hashlib.sha256(), b""
        async for piece in self.stream(key):
            digest.update(piece)
            if held:
                yield held
            held = piece
        if digest.hexdigest() != sha256:
            raise _damaged(key)
        if held:
            yield held

    async def sha256(self, key: str) -> str:
        """Of what lies there, read to its end in bounded memory."""
        digest = hashlib.sha256()
        async for chunk in self.stream(key):
            digest.update(chunk)
        return digest.hexdigest()

    async def _range(self, key: str, start: int, end: int) -> bytes:
        """Raises _NoRanges if the server sends the whole object instead, as the small S3 server of rclone does."""
        try:
            return bytes(await obstore.get_range_async(self._backend, key, start=start, end=end))
        except GenericError as error:
            if start == 0 and "non-partial response" in str(error):
                raise _NoRanges from error
            raise

    async def _stream_whole(self, key: str, chunk_bytes: int) -> AsyncIterator[bytes]:
        try:
            result = await obstore.get_async(self._backend, key)
            async for chunk in result.stream(min_chunk_size=chunk_bytes):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise await self._gone(_translated(error)) from error

    @property
    def folder(self) -> Path | None:
        """Where objects lie on a disk of this machine."""
        return Path(str(self._backend.prefix)) if isinstance(self._backend, LocalStore) else None

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes], limit_bytes: int) -> StoredObject:
        """Write a stream of unknown length in bounded memory; past ``limit_bytes`` raise TooLarge and keep nothing."""
        await self._check_identity()
        with self._metrics.timed("put_stream"):
            return await self._put_stream(key, chunks, limit_bytes)

    async def _put_stream(self, key: str, chunks: AsyncIterable[bytes], limit_bytes: int) -> StoredObject:
        digest, size = hashlib.sha256(), 0
        try:
            async with obstore.open_writer_async(
                self._backend, key, buffer_size=_part_bytes(limit_bytes), max_concurrency=2
            ) as writer:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit_bytes:
                        raise TooLarge("upload_too_large", f"The file is larger than the limit of {limit_bytes} bytes.")  # noqa: TRY301
                    digest.update(chunk)
                    await writer.write(chunk)
                await self._check_identity()  # the last bytes go to wherever the folder leads now
        except (BaseError, OSError) as error:
            await self._discard(key)
            raise _away(await self._gone(_translated(error))) from error
        except BaseException:
            await self._discard(key)
            raise
        await self._settle(key)
        return StoredObject(key, digest.hexdigest(), size)

    async def upload(self, key: str, path: Path) -> StoredObject:
        """Put a local file, in parts when it is large."""
        await self._check_identity()
        put = obstore.put_async(self._backend, key, path, chunk_size=_CHUNK_BYTES, max_concurrency=2)
        await self._written("upload", put)
        await self._settle(key)
        sha256 = await asyncio.to_thread(sha256_of_file, path)
        return StoredObject(key, sha256, path.stat().st_size)

    async def download(self, key: str, path: Path, sha256: str | None = None) -> None:
        """Write an object to a local file; the file appears only when it is whole and, where ``sha256`` says what was
        written, unchanged. Raises as `checked_stream` does.
        """
        part = path.with_name(path.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as out:
                async for chunk in self.stream(key) if sha256 is None else self.checked_stream(key, sha256):
                    await asyncio.to_thread(out.write, chunk)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def move(self, source: str, target: str) -> None:
        """Copy within the store, then delete the source; the target is whole, or what it was."""
        await self._check_identity()
        size_bytes = await self.size(source) if self._copy_limit_bytes is not None else 0
        if size_bytes > (self._copy_limit_bytes or 0):
            await self._guard("copy", self._copy_through(source, target, size_bytes))
        else:
            await self._found("copy", obstore.copy_async(self._backend, source, target))
            await self._settle(target)
        await self.delete([source])

    async def _copy_through(self, source: str, target: str, size_bytes: int) -> None:
        """Through this process, a few parts at a time: obstore cannot have S3 copy an object in parts.

        A copy that breaks off is aborted by the writer and leaves the target alone.
        """
        part_bytes = _part_bytes(size_bytes)
        async with obstore.open_writer_async(
            self._backend, target, buffer_size=part_bytes, max_concurrency=2
        ) as writer:
            async for chunk in self.stream(source, part_bytes):
                await writer.write(chunk)

    async def _settle(self, key: str) -> None:
        """Durable, and in the right store: a disk may be unmounted while something is written."""
        if isinstance(self._backend, LocalStore):
            root = Path(str(self._backend.prefix))
            await self._written("sync", asyncio.to_thread(_sync, root, root / key))
            try:
                await self._check_identity()
            except Unavailable:
                if await self.mark() is None:  # an empty mount point, where it would lie hidden
                    await self._guard("delete", obstore.delete_async(self._backend, key))
                raise

    async def _check_identity(self, *, anew: bool = False) -> None:
        if self._identity is not None:
            await self._identity.check(anew=anew)

    async def _found(self, operation: str, call: Awaitable[T]) -> T:
        """As `_guard`; what is not found is only gone if this is the right store."""
        try:
            return await self._guard(operation, call)
        except NotFound as error:
            raise await self._gone(error) from error

    async def _written(self, operation: str, call: Awaitable[T]) -> T:
        """As `_guard`; a place to write to that is not found is a store that is away."""
        try:
            return await self._guard(operation, call)
        except NotFound as error:
            raise _away(await self._gone(error)) from error

    async def _gone(self, error: TidemillError) -> TidemillError:
        """The same error; what the mark says instead where something is not found in a store that is not ours."""
        if isinstance(error, NotFound):
            try:
                await self.ensure_right()
            except Unavailable as foreign:
                return foreign
        return error

    async def _discard(self, key: str) -> None:
        try:
            await self.delete([key])
        except Unavailable:
            return  # the orphan collector finds it later

    async def _whole(self, key: str) -> obstore.Bytes:
        return await (await obstore.get_async(self._backend, key)).bytes_async()

    async def _guard(self, operation: str, call: Awaitable[T]) -> T:
        with self._metrics.timed(operation):
            try:
                return await call
            except (BaseError, OSError) as error:
                raise _translated(error) from error


def _sync(root: Path, file: Path) -> None:
    """The file, and the folders that name it."""
    for path in (file, *file.parents):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path == root:
            return


def named_sha256(key: str) -> str:
    """Of the content that ``key`` names, such as ``holdouts/<sha256>.parquet``."""
    return key.rpartition("/")[2].partition(".")[0]


def _damaged(key: str) -> Unavailable:
    log.error("An object is not what was written", extra={"child": key})
    return Unavailable(
        "object_damaged",
        f"The object {key} is not what was written to the store. Bring it back from a backup; `tidemill admin "
        "check-store --read` looks at all others.",
    )


def _part_bytes(size_bytes: int) -> int:
    return max(_CHUNK_BYTES, -(-size_bytes // _MOST_PARTS))


def _away(error: TidemillError) -> TidemillError:
    """A place that is not there at all, such as a bucket or a root folder, is a store that is away."""
    if isinstance(error, NotFound):
        return Unavailable("object_store_unavailable", "The object store's bucket or folder is not there.")
    return error


def _translated(error: Exception) -> TidemillError:
    if isinstance(error, (FileNotFoundError, obstore.exceptions.NotFoundError)):
        return NotFound("object_not_found", "The object is not in the store.")
    if _is_of_disk(error, errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):  # S3 servers say so too
        return Unavailable("disk_full", "The object store has no space left.")
    if _is_of_disk(error, errno.EROFS):
        return Unavailable("object_store_refuses", "The object store's disk is read-only.")
    if _is_of_disk(error, errno.EACCES):
        return Unavailable("object_store_refuses", "A folder of the store is closed to the user of this process.")
    if isinstance(error, (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError)):
        return Unavailable("object_store_refuses", "The object store refuses the platform's keys or its bucket.")
    return Unavailable("object_store_unavailable", f"The object store does not answer ({type(error).__name__}).")


def _is_of_disk(error: Exception, *numbers: int) -> bool:
    """Our own calls give the number, obstore writes it into its text."""
    said = str(error)
    return any(getattr(error, "errno", None) == number or f"(os error {number})" in said for number in numbers)


def open_object_store(settings: ObjectStoreSettings, registry: CollectorRegistry | None = None) -> ObjectStore:
    """The store that ``settings.url`` names, measured in ``registry``.

    Raises Invalid for an unknown scheme, Forbidden for a directory of another user, who could lead us elsewhere in it.
    """
    backend = _backend(settings)
    copy_limit_bytes = _S3_COPY_BYTES if isinstance(backend, S3Store) else None
    return ObjectStore(backend, store_metrics(registry), copy_limit_bytes)


def overlap(one: ObjectStoreSettings, other: ObjectStoreSettings) -> bool:
    """Whether one of two places lies within the other, as far as their addresses tell."""
    first, second = _place(one), _place(other)
    return all(mine == theirs for mine, theirs in zip(first, second, strict=False))


def _place(settings: ObjectStoreSettings) -> tuple[str, ...]:
    scheme, _, path = settings.url.partition("://")
    if scheme == "file":
        return (scheme, *Path(path).resolve().parts)
    return (scheme, settings.endpoint or "", *filter(None, path.split("/")))


def _backend(settings: ObjectStoreSettings) -> _Backend:
    url = settings.url
    if url.startswith("memory://"):
        return MemoryStore()
    if url.startswith("file://"):
        return LocalStore(own_folder(Path(url.removeprefix("file://"))), automatic_cleanup=True)
    if url.startswith("s3://"):
        return _s3(settings)
    raise Invalid("object_store_url_invalid", "The object store's address begins with file://, s3:// or memory://.")


def _s3_keys(settings: ObjectStoreSettings) -> tuple[str, str]:
    key, secret = settings.access_key_id, settings.secret_access_key
    found = (
        key.get_secret_value() if key else os.environ.get("AWS_ACCESS_KEY_ID"),
        secret.get_secret_value() if secret else os.environ.get("AWS_SECRET_ACCESS_KEY"),
    )
    if found[0] is None or found[1] is None:
        raise Invalid("object_store_keys_missing", "S3 needs access_key_id and secret_access_key, or AWS_*.")
    return found[0], found[1]


def _s3(settings: ObjectStoreSettings) -> S3Store:
    bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
    key, secret = _s3_keys(settings)
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=settings.region,
        endpoint=settings.endpoint,
        access_key_id=key,
        secret_access_key=secret,
        client_options={"timeout": timedelta(seconds=settings.timeout_seconds), "allow_http": True},
        retry_config={
            "max_retries": settings.retries,
            "retry_timeout": timedelta(seconds=settings.timeout_seconds),
        },
    )
