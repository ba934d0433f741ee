"""The object store's contract, on a directory, in memory and on a real S3 server."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.disks import small_disk
from tests.ports import free_port
from tests.s3_servers import s3_settings
from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.kit.errors import Invalid, NotFound, TooLarge, Unavailable
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.settings.model import ObjectStoreSettings


@pytest.fixture(params=["directory", "memory", "rclone_s3", "minio_s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return open_object_store(ObjectStoreSettings(url=f"file://{tmp_path}/objects"))
    if request.param == "memory":
        return open_object_store(ObjectStoreSettings(url="memory://"))
    return open_object_store(s3_settings(request.getfixturevalue(request.param)))


async def _chunks(count: int, size: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 251]) * size


async def test_what_was_put_is_read_whole_and_in_pieces(any_store: ObjectStore, tmp_path: Path) -> None:
    await any_store.put("a/small", b"hello")
    assert await any_store.get("a/small") == b"hello"
    assert await any_store.size("a/small") == 5
    stored = await any_store.put_stream("a/large", _chunks(40, 1 << 20), limit_bytes=1 << 26)
    assert stored.size_bytes == 40 << 20
    await any_store.download("a/large", tmp_path / "sub" / "large")
    data = (tmp_path / "sub" / "large").read_bytes()
    assert sha256_of_bytes(data) == stored.sha256
    assert (await any_store.upload("a/file", tmp_path / "sub" / "large")).sha256 == stored.sha256
    assert sorted(await any_store.list("a/")) == ["a/file", "a/large", "a/small"]


async def test_a_stream_over_the_limit_leaves_nothing(any_store: ObjectStore) -> None:
    with pytest.raises(TooLarge):
        await any_store.put_stream("b/too-large", _chunks(20, 1 << 20), limit_bytes=10 << 20)
    assert not await any_store.exists("b/too-large")


async def test_a_broken_stream_leaves_nothing(any_store: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (9 << 20)
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, Unavailable)):
        await any_store.put_stream("b/broken", broken(), limit_bytes=1 << 30)
    assert not await any_store.exists("b/broken")


async def test_moving_replaces_and_deleting_twice_is_no_error(any_store: ObjectStore) -> None:
    await any_store.put("c/one", b"1")
    await any_store.move("c/one", "c/two")
    assert not await any_store.exists("c/one")
    assert await any_store.get("c/two") == b"1"
    await any_store.delete(["c/two", "c/two", "c/never"])
    with pytest.raises(NotFound):
        await any_store.get("c/two")


async def test_a_directory_is_synced_before_a_write_is_said_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = set(), os.fsync

    def noted_sync(descriptor: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_sync)
    (tmp_path / "file").write_bytes(b"1")
    root = tmp_path / "objects"
    store = open_object_store(ObjectStoreSettings(url=f"file://{root}"))
    await store.put("put/here", b"1")
    await store.put_stream("streamed/here", _chunks(1, 10), limit_bytes=10)
    await store.upload("uploaded/here", tmp_path / "file")
    await store.move("put/here", "moved/here")
    for folder in ("put", "streamed", "uploaded", "moved"):
        assert {str(root), str(root / folder), str(root / folder / "here")} <= synced


async def test_reading_an_object_may_take_longer_than_one_request(minio_s3: str) -> None:
    settings = s3_settings(minio_s3)
    store = open_object_store(settings.model_copy(update={"timeout_seconds": 1.0, "retries": 0}))
    await open_object_store(settings).put_stream("e/large", _chunks(80, 1 << 20), limit_bytes=1 << 27)
    size_bytes, began = 0, time.monotonic()
    async for chunk in store.stream("e/large"):
        size_bytes += len(chunk)
        await asyncio.sleep(0.2)  # a slow reader
    assert size_bytes == 80 << 20
    assert time.monotonic() - began > 1.5


async def test_an_object_too_large_for_one_copy_is_moved_in_parts(any_store: ObjectStore) -> None:
    store = ObjectStore(any_store._backend, copy_limit_bytes=1 << 20)
    stored = await store.put_stream("d/large", _chunks(21, (1 << 20) - 7), limit_bytes=1 << 26)
    await store.put("d/there", b"older bytes")
    await store.move("d/large", "d/there")
    assert not await store.exists("d/large")
    assert sha256_of_bytes(await store.get("d/there")) == stored.sha256
    with pytest.raises(NotFound):
        await store.move("d/large", "d/there")
    assert await store.size("d/there") == stored.size_bytes


async def test_only_on_s3_is_a_copy_limited() -> None:
    assert open_object_store(ObjectStoreSettings(url="memory://"))._copy_limit_bytes is None
    assert open_object_store(s3_settings("http://127.0.0.1:9"))._copy_limit_bytes == 5 * 2**30


async def test_a_store_that_is_away_is_unavailable() -> None:
    store = open_object_store(s3_settings(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unavailable):
        await store.get("x")


_PUT_INTO_A_CLOSED_FOLDER = """
import asyncio, os, sys
from tidemill.adapters.object_store import open_object_store
from tidemill.settings.model import ObjectStoreSettings
store = open_object_store(ObjectStoreSettings(url=f"file://{sys.argv[1]}"))
if os.getuid() == 0:
    os.setuid(65534)
asyncio.run(store.put("a/b", b"c"))
"""


def test_a_closed_folder_is_told_as_such_and_not_as_a_server_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o500)
    command = [sys.executable, "-c", _PUT_INTO_A_CLOSED_FOLDER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert "closed to the user of this process" in done.stderr, done.stderr


async def test_a_disk_that_is_full_out_of_files_or_read_only_is_told_as_such_and_keeps_what_it_has(
    tmp_path: Path,
) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    with small_disk(2**20, most_files=20) as disk:
        store = open_object_store(ObjectStoreSettings(url=f"file://{disk.path}/objects"))
        await store.put("a", b"kept")

        async def refused(code: str) -> None:
            for put in (
                store.put("b/c", bytes(1 << 19)),
                store.put_stream("d/e", _chunks(1, 1 << 19), limit_bytes=1 << 20),
                store.upload("f/g", tmp_path / "large"),
            ):
                with pytest.raises(Unavailable) as raised:
                    await put
                assert raised.value.code == code
            assert await store.get("a") == b"kept"

        disk.fill()
        await refused("disk_full")
        disk.free()
        crowd = [disk.path / str(number) for number in range(20)]
        with contextlib.suppress(OSError):
            for path in crowd:
                path.touch()
        await refused("disk_full")
        for path in crowd:
            path.unlink(missing_ok=True)
        disk.make_read_only()
        await refused("object_store_refuses")
        disk.make_read_only(False)
        await store.put("b/c", b"x")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(Invalid):
        open_object_store(ObjectStoreSettings(url="ftp://x"))


def test_s3_without_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(Invalid) as refused:
        open_object_store(ObjectStoreSettings(url="s3://bucket"))
    assert refused.value.code == "object_store_keys_missing"
