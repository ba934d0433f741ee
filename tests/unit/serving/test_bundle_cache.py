"""Bundles on a model server's disk, wanted by several deployments at once, or no more while they are unpacked."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tidemill.adapters.bundles import pack_bundle
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.sync.bundles import BundleCache


async def test_a_bundle_is_fetched_once_for_all_deployments_and_leaves_nothing_where_it_is_given_up(
    tmp_path: Path,
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    packed = pack_bundle(tmp_path / "model", tmp_path / "bundle.tar")
    fetched = 0

    async def download(_sha256: str, _size_bytes: int, target: Path) -> None:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0)
        shutil.copyfile(packed.path, target)
        await asyncio.sleep(0)

    state = StateDirectory(tmp_path / "state")
    try:
        cache = BundleCache(state, download)
        wanted = [cache.unpacked(packed.sha256, packed.size_bytes) for _ in range(4)]
        folders = await asyncio.gather(*wanted)
        assert fetched == 1
        assert len({(folder / "MLmodel").read_text() for folder in folders}) == 1
        for turns in range(12):
            given_up = asyncio.create_task(cache.unpacked(packed.sha256, packed.size_bytes))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            if given_up.done():
                cache.remove_unpacked(given_up.result())
                continue
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        async with asyncio.timeout(20):
            while len(list(state.models.iterdir())) > len(folders):
                await asyncio.sleep(0.005)
    finally:
        state.close()
