"""Backups, restores and checks of a store that is not the database's do no harm."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.backup.stacks import MakeStack, Vault, fill
from tests.integration.mounts import Mount
from tidemill.adapters.store_mark import FOREIGN, MARK
from tidemill.backup.stack import Stack
from tidemill.backup.verify import check_store
from tidemill.db.engine import create_session_factory
from tidemill.features.stores import service as stores
from tidemill.kit.errors import Refused, Unavailable


async def settle(stack: Stack) -> str:
    """As api and worker do when they start."""
    async with stack.engine() as engine:
        return await stores.settled_identity(create_session_factory(engine), stack.store)


def mount_of(stack: Stack) -> Mount:
    return Mount(Path(stack.settings.object_store.url.removeprefix("file://")))


async def findings(stack: Stack, folder: Path) -> dict[str, str]:
    folder.mkdir()
    return {each.what: each.wrong for each in (await check_store(stack, folder, read=False)).findings}


@pytest.mark.parametrize("mark", [None, "store_of_another_platform"])
async def test_no_backup_is_made_of_another_store_and_no_good_one_is_thinned_out(
    make_stack: MakeStack, vault: Vault, mark: str | None
) -> None:
    stack = make_stack(keep_last=1, keep_days=1, keep_weeks=1)
    await fill(stack)
    await settle(stack)
    good = (await vault.back_up(stack)).manifest
    mount = mount_of(stack)
    mount.unmount()
    if mark is not None:
        await stack.store.write_mark(mark)
    with pytest.raises(Unavailable) as refused:
        await vault.back_up(stack)
    assert (refused.value.code, await vault.target.ids()) == (FOREIGN, [good.id])
    (mount.path / MARK).unlink(missing_ok=True)
    mount.mount()
    assert (await vault.back_up(stack)).manifest.missing_count == 0


async def test_a_backup_needs_no_identity_and_gives_none(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    await vault.back_up(stack)
    assert await stack.store.mark() is None
    async with stack.engine() as engine:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE store_identities"))  # of the release before
        assert await stores.known_identity(create_session_factory(engine)) is None


async def test_a_restore_takes_no_empty_store_from_another_platform_unless_told_to(
    make_stack: MakeStack, vault: Vault
) -> None:
    stack = make_stack()
    await fill(stack)
    await settle(stack)
    await vault.back_up(stack)
    other = make_stack(empty=True)
    await other.store.write_mark("store_of_another_platform")
    with pytest.raises(Refused) as refused:
        await vault.restore(other)
    assert refused.value.code == "store_marked"
    assert await other.store.mark() == "store_of_another_platform"
    assert [entry.key async for entry in other.store.entries()] == []
    await vault.restore(other, replace=True)
    assert await other.store.mark() == await settle(other)


async def test_a_restore_into_a_platform_that_was_only_started_gives_both_a_new_identity(
    make_stack: MakeStack, vault: Vault
) -> None:
    stack, other = make_stack(), make_stack()
    await fill(stack)
    old = await settle(stack)
    await vault.back_up(stack)
    started = await settle(other)
    await vault.restore(other)
    assert await other.store.mark() == await settle(other)
    assert await other.store.mark() not in (old, started)


async def test_checking_a_store_tells_of_its_mark_and_of_its_objects_all_the_same(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    stack = make_stack()
    keys = await fill(stack)
    await settle(stack)
    assert await findings(stack, tmp_path / "right") == {}
    await stack.store.write_mark("store_of_another_platform")
    assert await findings(stack, tmp_path / "marked") == {MARK: "damaged"}
    await stack.store.delete([MARK, keys.holdout])
    assert await findings(stack, tmp_path / "moved") == {MARK: "missing", keys.holdout: "missing"}
