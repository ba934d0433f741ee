"""`tidemill admin create-bucket`, on real S3 servers."""

import os

import pytest

from tests.ports import free_port
from tests.s3_servers import s3_settings
from tidemill.adapters.object_store import open_object_store
from tidemill.admin.bucket import ensure_bucket
from tidemill.kit.errors import Invalid, Unavailable
from tidemill.settings.model import ObjectStoreSettings


@pytest.mark.parametrize("server", ["rclone_s3", "minio_s3"])
async def test_a_bucket_is_made_once(server: str, request: pytest.FixtureRequest) -> None:
    url = f"s3://made-{os.urandom(4).hex()}/prefix"
    settings = s3_settings(request.getfixturevalue(server)).model_copy(update={"url": url})
    assert [ensure_bucket(settings), ensure_bucket(settings)] == [True, False]
    store = open_object_store(settings)
    await store.put("a", b"1")
    assert await store.get("a") == b"1"


def test_a_store_that_is_away_is_told_and_a_folder_has_no_bucket() -> None:
    with pytest.raises(Unavailable) as away:
        ensure_bucket(s3_settings(f"http://127.0.0.1:{free_port()}"), wait_seconds=0)
    assert away.value.code == "object_store_unavailable"
    with pytest.raises(Invalid):
        ensure_bucket(ObjectStoreSettings(url="file:///objects"))
