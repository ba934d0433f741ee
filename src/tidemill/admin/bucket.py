"""The bucket of the object store, where that is an S3 server."""

import importlib
import time
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
    if _exists(client, bucket):
        return False
    errors = importlib.import_module("botocore.exceptions")
    try:
        client.create_bucket(Bucket=bucket)
    except errors.ClientError as error:
        if _code(error) in _PRESENT:
            return False
        raise Unavailable(
            "bucket_refused", f"The object store refused to create the bucket ({_code(error)})."
        ) from None
    except errors.BotoCoreError as error:
        raise _away(error) from None
    return True


def _exists(client: Any, bucket: str) -> bool:
    errors = importlib.import_module("botocore.exceptions")
    try:
        client.head_bucket(Bucket=bucket)
    except errors.ClientError as error:
        if _code(error) in _ABSENT:
            return False
        raise Unavailable(
            "bucket_refused", f"The object store refused access to the bucket ({_code(error)})."
        ) from None
    except errors.BotoCoreError as error:
        raise _away(error) from None
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


def _away(error: Exception) -> Unavailable:
    return Unavailable("object_store_unavailable", f"The object store does not answer ({type(error).__name__}).")
