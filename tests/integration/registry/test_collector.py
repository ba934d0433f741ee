"""Objects that no version needs any more."""

from datetime import timedelta

from tests.integration.registry.models import register
from tidemill.adapters.bundles import bundle_key
from tidemill.adapters.object_store import ObjectStore
from tidemill.db.engine import SessionFactory, transaction
from tidemill.features.registry import administration
from tidemill.features.registry.collector import collect
from tidemill.kit.clock import utc_now


async def test_only_old_objects_that_no_version_needs_are_removed(sessions: SessionFactory, store: ObjectStore) -> None:
    needed, shared, gone, never = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
    for address in (needed, shared, gone, never):
        await store.put(bundle_key(address), b"model")
    for key in ("holdouts/kept.parquet", "holdouts/gone.parquet"):
        await store.put(key, b"rows")
    await register(sessions, bundle_sha256=needed, holdout_key="holdouts/kept.parquet")
    for address in (shared, gone):
        await register(sessions, "old", bundle_sha256=address, holdout_key="holdouts/gone.parquet")
    await register(sessions, "old", bundle_sha256=shared)
    for number in (1, 2):
        async with transaction(sessions) as session:
            await administration.delete_version(session, "old", number, "key_test")
    assert await collect(store, sessions, utc_now() - timedelta(hours=1)) == {"bundles": 0, "holdouts": 0}
    assert await collect(store, sessions, utc_now() + timedelta(hours=1)) == {"bundles": 2, "holdouts": 1}
    assert sorted(await store.list("bundles/")) == [bundle_key(needed), bundle_key(shared)]
    assert await store.list("holdouts/") == ["holdouts/kept.parquet"]
