"""What was backed up comes back, whatever lies between, and nothing else is taken for a backup."""

import os
from pathlib import Path

import pytest

from tests.integration.backup.stacks import MakeStack, Vault, fill, objects_of, quiet, rows_of
from tidemill.admin.work import Work
from tidemill.auth.scopes import Scope
from tidemill.auth.service import NewKey, create_key
from tidemill.backup.create import create_backup
from tidemill.backup.manifest import DamagedBackup, Manifest, decode_manifest, encode_manifest
from tidemill.backup.sealing import Keys, new_identity, read_keys
from tidemill.backup.target import object_key, refuse_overlap
from tidemill.backup.verify import Finding, check_store
from tidemill.db.engine import create_session_factory, transaction
from tidemill.features.sessions import service as sessions
from tidemill.kit.errors import Conflict, Invalid, NotFound, Refused
from tidemill.settings.model import BackupSettings, ObjectStoreSettings, SessionSettings, Settings

_LEDGER = "SELECT prediction_id, inputs::text, output::text FROM predictions ORDER BY prediction_id"
_EXPERIMENTS = "SELECT name FROM experiments ORDER BY name"


async def test_rows_and_objects_come_back_in_an_empty_stack(make_stack: MakeStack, any_vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    before = await rows_of(stack.tidemill, _LEDGER)
    made = await any_vault.back_up(stack)
    assert (made.manifest.objects.count, made.manifest.missing) == (3, [])
    assert (await any_vault.verify()).ok
    fresh = make_stack(empty=True)
    restored = await any_vault.restore(fresh)
    assert restored.objects == 3
    assert await objects_of(fresh.store) == await objects_of(stack.store)
    assert await rows_of(fresh.tidemill, _LEDGER) == before
    assert await rows_of(fresh.mlflow, _EXPERIMENTS) == [("Default",)]
    assert (await check_store(fresh, any_vault.scratch(), read=True)).ok
    again = await any_vault.back_up(fresh)
    assert again.manifest.objects.copied_count == 0
    await any_vault.restore(make_stack(empty=True), again.manifest.id)


async def test_a_stack_that_was_only_started_counts_as_empty(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    await vault.back_up(stack)
    started = make_stack()
    await vault.restore(started)
    assert await rows_of(started.tidemill, _LEDGER) == await rows_of(stack.tidemill, _LEDGER)


async def test_a_stack_with_content_is_refused_unless_it_may_be_replaced(make_stack: MakeStack, vault: Vault) -> None:
    stack, used = make_stack(), make_stack()
    await fill(stack)
    await vault.back_up(stack)
    other = await fill(used, "cars")
    with pytest.raises(Refused) as refused:
        await vault.restore(used)
    assert refused.value.code == "stack_not_empty"
    assert await rows_of(used.tidemill, "SELECT name FROM models") == [("cars",)]
    await vault.restore(used, replace=True)
    assert await rows_of(used.tidemill, "SELECT name FROM models") == [("loans",)]
    assert await used.store.exists(other.bundle)


async def test_objects_that_the_backup_does_not_know_are_refused(make_stack: MakeStack, vault: Vault) -> None:
    stack, fresh = make_stack(), make_stack(empty=True)
    await fill(stack)
    await vault.back_up(stack)
    await fresh.store.put("bundles/of-somebody-else.tar", b"x")
    with pytest.raises(Refused) as refused:
        await vault.restore(fresh)
    assert refused.value.code == "store_not_empty"


async def test_only_what_is_new_is_copied(make_stack: MakeStack, sealed_vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    first = await sealed_vault.back_up(stack)
    second = await sealed_vault.back_up(stack)
    await fill(stack, "cars")
    third = await sealed_vault.back_up(stack)
    copied = [made.manifest.objects.copied_count for made in (first, second, third)]
    assert copied == [3, 0, 2]  # the second artifact has the bytes of the first
    assert third.manifest.objects.count == 6
    for made in (first, second, third):
        assert (await sealed_vault.verify(made.manifest.id)).ok


async def test_a_backup_in_use_by_others_is_refused(make_stack: MakeStack, vault: Vault) -> None:
    stack, fresh = make_stack(), make_stack()
    await fill(stack)
    await vault.back_up(stack)
    async with fresh.engine() as engine:
        renamed = engine.execution_options()
        async with renamed.connect() as connection:
            await connection.exec_driver_sql("SET application_name = 'tidemill-api'")
            with pytest.raises(Conflict) as refused:
                await vault.restore(fresh)
    assert refused.value.code == "stack_in_use"


async def test_a_damaged_and_a_missing_object_are_named(make_stack: MakeStack, sealed_vault: Vault) -> None:
    stack = make_stack()
    keys = await fill(stack)
    made = await sealed_vault.back_up(stack)
    stored = {entry.key: entry async for entry in sealed_vault.target.objects()}
    sizes = sorted(stored.values(), key=lambda entry: entry.size_bytes)
    await sealed_vault.target.store.put(sizes[-1].key, b"damaged")  # the bundle is the largest
    await sealed_vault.target.store.delete([sizes[0].key])
    checked = await sealed_vault.verify()
    assert checked.finding_count == 2
    assert Finding(keys.bundle, "damaged") in checked.findings
    assert {finding.wrong for finding in checked.findings} == {"damaged", "missing"}
    without_identity = await sealed_vault.verify(keys=Keys(sealed_vault.keys.recipient, None))
    assert (without_identity.finding_count, without_identity.unsealed, checked.unsealed) == (2, False, True)
    with pytest.raises((Invalid, NotFound)):
        await sealed_vault.restore(make_stack(empty=True), made.manifest.id)


async def test_the_wrong_key_and_no_key_are_refused(make_stack: MakeStack, sealed_vault: Vault) -> None:
    stack = make_stack()
    await fill(stack)
    await sealed_vault.back_up(stack)
    wrong = read_keys(BackupSettings.model_validate({"identity": new_identity()[0]}))
    for keys, code in ((wrong, "backup_key_wrong"), (Keys(None, None), "backup_key_missing")):
        vault = Vault(sealed_vault.target, keys, sealed_vault.folder)
        with pytest.raises(Refused) as refused:
            await vault.restore(make_stack(empty=True))
        assert refused.value.code == code


async def test_nothing_of_an_encrypted_backup_can_be_read(
    make_stack: MakeStack, sealed_vault: Vault, tmp_path: Path
) -> None:
    stack = make_stack()
    await fill(stack)
    await sealed_vault.back_up(stack)
    for path in (tmp_path / "sealed-backups").rglob("*"):
        if path.is_file() and path.name not in ("manifest.json", "objects.ndjson.gz"):
            assert path.read_bytes().startswith(b"age-encryption.org/v1\n")


async def test_what_the_store_lost_already_is_told(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    keys = await fill(stack)
    await stack.store.delete([keys.holdout])
    await stack.store.put(keys.bundle, b"overwritten by somebody")
    made = await vault.back_up(stack)
    assert sorted(made.manifest.missing) == sorted([keys.bundle, keys.holdout])
    assert not (await vault.verify()).ok
    checked = await check_store(stack, vault.scratch(), read=False)
    assert {(finding.what, finding.wrong) for finding in checked.findings} == {
        (keys.bundle, "damaged"),
        (keys.holdout, "missing"),
    }


async def test_another_environment_gets_no_place_in_the_target(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    await vault.back_up(stack)
    foreign = make_stack()
    production = foreign.settings.model_copy(update={"environment": "production"})
    other = type(foreign)(production, foreign.tidemill, foreign.mlflow, foreign.store)
    with pytest.raises(Conflict) as refused:
        await vault.back_up(other)
    assert refused.value.code == "backup_target_foreign"


async def test_a_changed_manifest_is_no_backup(make_stack: MakeStack, vault: Vault) -> None:
    made = await vault.back_up(make_stack())
    key = f"backups/{made.manifest.id}/manifest.json"
    text = (await vault.target.store.get(key)).decode()
    await vault.target.store.put(key, text.replace('"rows": 0', '"rows": 1').encode())
    with pytest.raises(Invalid) as refused:
        await vault.verify(made.manifest.id)
    assert refused.value.code == "manifest_damaged"


async def test_a_damaged_backup_hides_no_other_and_keeps_none_from_being_made(
    make_stack: MakeStack, vault: Vault
) -> None:
    stack = make_stack(keep_last=2, keep_days=0, keep_weeks=0)
    await fill(stack)
    whole = await vault.back_up(stack)
    damaged = await vault.back_up(stack)
    await vault.target.store.put(f"backups/{damaged.manifest.id}/manifest.json", b"{}")
    work = Work(stack.settings, vault.target, vault.keys, quiet)
    assert [type(each) for each in await work.backups()] == [DamagedBackup, Manifest]
    with pytest.raises(Invalid, match=damaged.manifest.id):
        await vault.verify()
    said: list[str] = []
    third = await create_backup(stack, vault.target, vault.keys, vault.scratch(), said.append)
    assert (third.manifest.objects.copied_count, third.pruned) == (0, [whole.manifest.id])
    assert any(damaged.manifest.id in line for line in said)
    assert (await vault.verify()).ok


async def test_what_lies_beside_the_backups_is_left_alone(make_stack: MakeStack, vault: Vault) -> None:
    """Such as the objects of a platform whose folder was named as the place of backups."""
    stack = make_stack(keep_last=1, keep_days=0, keep_weeks=0)
    foreign = ["backups/of-mine/manifest.json", "backups/notes.txt", "objects/bundles/1.tar", "objects/ab/1"]
    for key in foreign:
        await vault.target.store.put(key, b"x")
        path = Path(str(vault.target.store._backend.prefix)) / key
        os.utime(path, (0, 0))
    for _ in range(2):
        await vault.back_up(stack)
    assert len(await vault.target.ids()) == 1
    assert [key for key in foreign if not await vault.target.store.exists(key)] == []


async def test_a_manifest_cannot_name_a_way_out_of_its_folder(make_stack: MakeStack, vault: Vault) -> None:
    manifest = (await vault.back_up(make_stack())).manifest
    for name in ("../../outside", "/tmp/outside", ".hidden/x"):
        lists = manifest.objects.list.model_copy(update={"name": name})
        forged = manifest.model_copy(update={"objects": manifest.objects.model_copy(update={"list": lists})})
        with pytest.raises(Invalid) as refused:
            decode_manifest(encode_manifest(forged))
        assert refused.value.code == "manifest_damaged"


@pytest.mark.parametrize(
    ("backups", "apart"),
    [
        ("file://{tmp}/backups", True),
        ("file://{tmp}/objects-of-old", True),
        ("file://{tmp}", False),
        ("file://{tmp}/objects", False),
        ("file://{tmp}/objects/../objects/backups", False),
        ("s3://bucket/backups", True),
    ],
)
def test_backups_lie_apart_from_the_objects_that_they_are_of(tmp_path: Path, backups: str, apart: bool) -> None:
    objects = ObjectStoreSettings(url=f"file://{tmp_path}/objects")
    settings = Settings(object_store=objects, backup=BackupSettings(url=backups.format(tmp=tmp_path)))
    if apart:
        refuse_overlap(settings)
        return
    with pytest.raises(Invalid) as refused:
        refuse_overlap(settings)
    assert refused.value.code == "backup_place_overlaps"


async def test_a_newer_backup_is_refused(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack()
    async with stack.engine() as engine, engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await vault.back_up(stack)
    with pytest.raises(Refused) as refused:
        await vault.restore(make_stack(empty=True))
    assert refused.value.code == "backup_newer"


async def test_moving_the_bucket_leaves_nothing_dangling(make_stack: MakeStack, vault: Vault) -> None:
    stack, moved = make_stack(), make_stack()
    keys = await fill(stack)
    elsewhere = type(stack)(stack.settings, stack.tidemill, stack.mlflow, moved.store)
    assert (await check_store(elsewhere, vault.scratch(), read=False)).finding_count == 2
    for key, data in (await objects_of(stack.store)).items():
        await moved.store.put(key, data)
    assert (await check_store(elsewhere, vault.scratch(), read=True)).ok
    first, second = await vault.back_up(stack), await vault.back_up(elsewhere)
    assert (first.manifest.objects.copied_count, second.manifest.objects.copied_count) == (3, 0)
    assert object_key(keys.bundle.removeprefix("bundles/").removesuffix(".tar")) in {
        entry.key async for entry in vault.target.objects()
    }


@pytest.mark.parametrize("environment", ["local", "staging"])
async def test_keys_and_sessions_hold_in_their_own_environment_alone(
    make_stack: MakeStack, vault: Vault, environment: str
) -> None:
    stack = make_stack()
    async with stack.engine() as engine, transaction(create_session_factory(engine)) as session:
        _, token = await create_key(session, NewKey("ana", [Scope.ADMIN]), "local", None)
        await sessions.begin(session, token, "local", SessionSettings())
    await vault.back_up(stack)
    empty = make_stack(empty=True)
    settings = empty.settings.model_copy(update={"environment": environment})
    elsewhere = type(empty)(settings, empty.tidemill, empty.mlflow, empty.store)
    await vault.restore(elsewhere)
    kept = environment == "local"
    assert await rows_of(empty.tidemill, "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL") == [(int(kept),)]
    assert await rows_of(empty.tidemill, "SELECT count(*) FROM sessions") == [(int(kept),)]
