"""The bucket of the object store, where that is an S3 server."""

import importlib
import time
from collections.abc import Callable
from typing import Any

from tidemill.kit.errors import Invalid, Unavailable
from tidemill.settings.model import ObjectStoreSettings

_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_PRESENT = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_ABSENT = frozenset({"404", "NoSuchBucket"})


def ensure_bucket(settings: ObjectStoreSettings, wait_seconds: float = _WAIT_SECONDS) -> bool:
    """Create the bucket that ``settings.url`` names; True if it was not there.

    A bucket that exists is enough: whoever provides it may forbid us to create any. Waits for a store that is starting.
    Raises Invalid if the address names no bucket, Unavailable if the store does not answer in time or refuses.
    """
    if not settings.url.startswith("s3://"):
        raise Invalid("object_store_url_invalid", "Only an object store with an s3:// address has a bucket.")
    bucket = settings.url.removeprefix("s3://").partition("/")[0]
    client = _client(settings)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return _ensure(client, bucket)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _ensure(client: Any, bucket: str) -> bool:
    if _ask(lambda: client.head_bucket(Bucket=bucket), _ABSENT, "access to the bucket"):
        return False
    return _ask(lambda: client.create_bucket(Bucket=bucket), _PRESENT, "to create the bucket")


def _ask(call: Callable[[], object], means_no: frozenset[str], asked: str) -> bool:
    """True if the store did it, False if it answered with a code of ``means_no``. Raises Unavailable for any other."""
    errors = importlib.import_module("botocore.exceptions")
    try:
        call()
    except errors.ClientError as error:
        if _code(error) in means_no:
            return False
        raise Unavailable("bucket_refused", f"The object store refused {asked} ({_code(error)}).") from None
    except errors.BotoCoreError as error:
        raise Unavailable(
            "object_store_unavailable", f"The object store does not answer ({type(error).__name__})."
        ) from None
    return True


def _client(settings: ObjectStoreSettings) -> Any:
    """boto3 belongs to the extra ``training``, as MLflow's S3 client does; without keys it looks where AWS says."""
    boto3 = importlib.import_module("boto3")
    config = importlib.import_module("botocore.config").Config
    key, secret = settings.access_key_id, settings.secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
