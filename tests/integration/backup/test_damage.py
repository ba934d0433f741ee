"""A damaged, foreign or newer backup: one error that names what is wrong, and nothing is changed."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.backup.stacks import MakeStack, Vault, fill, objects_of, quiet, rows_of
from tidemill.adapters.object_store import open_object_store
from tidemill.admin.work import Work
from tidemill.backup.manifest import Manifest, StoredFile, decode_manifest
from tidemill.backup.stack import Stack
from tidemill.backup.target import BackupTarget
from tidemill.kit.errors import Invalid, TidemillError
from tidemill.kit.hashing import sha256_of_bytes, sha256_of_json
from tidemill.settings.model import ObjectStoreSettings


@dataclass(frozen=True)
class Lying:
    """A backup as it lies in a folder."""

    place: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        return self.place / "backups" / self.manifest.id

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        file = self.folder / name
        file.write_bytes(change(file.read_bytes()))

    def change_object(self, change: Callable[[bytes], bytes]) -> None:
        file = max(
            (path for path in (self.place / "objects").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
        )
        file.write_bytes(change(file.read_bytes()))

    def lose_object(self) -> None:
        next(path for path in (self.place / "objects").rglob("*") if path.is_file()).unlink()

    def forge(self, name: str, content: bytes) -> None:
        """Put ``content`` in a file's place, with a manifest that agrees."""
        (self.folder / name).write_bytes(content)
        sha256 = sha256_of_bytes(content)
        new = StoredFile(
            name=name, sha256=sha256, size_bytes=len(content), stored_sha256=sha256, stored_size_bytes=len(content)
        )
        manifest = self.manifest
        dumps = [
            dump.model_copy(update={"file": new}) if dump.file.name == name else dump for dump in manifest.databases
        ]
        parts = {
            part: getattr(manifest, part).model_copy(update={field: new})
            for part, field in (("objects", "list"), ("golden", "file"))
            if getattr(getattr(manifest, part), field).name == name
        }
        self.forge_manifest(databases=dumps, **parts)

    def forge_manifest(self, **changes: object) -> None:
        """Change what the manifest says, with the hash that fits."""
        content = self.manifest.model_copy(update=changes).model_dump(mode="json", warnings=False)
        sealed = {"manifest": content, "sha256": sha256_of_json(content)}
        (self.folder / "manifest.json").write_text(json.dumps(sealed))


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _altered(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


_MANIFEST, _LIST, _GOLDEN = "manifest.json", "objects.ndjson.gz", "golden.ndjson"
_DAMAGES: dict[str, tuple[str, Callable[[Lying], object]]] = {
    "manifest empty": (_MANIFEST, lambda it: it.change(_MANIFEST, lambda _: b"")),
    "manifest no text": (_MANIFEST, lambda it: it.change(_MANIFEST, lambda _: b"\x00\xff")),
    "manifest cut": (_MANIFEST, lambda it: it.change(_MANIFEST, _half)),
    "manifest nested": (_MANIFEST, lambda it: it.change(_MANIFEST, lambda _: b"[" * 100_000)),
    "manifest huge": (_MANIFEST, lambda it: it.change(_MANIFEST, lambda _: b" " * (16 * 2**20 + 1))),
    "manifest newer": (_MANIFEST, lambda it: it.change(_MANIFEST, lambda _: b'{"manifest": {"format": 2}, "seal": 1}')),
    "manifest of another": (_MANIFEST, lambda it: it.forge_manifest(id="20200101T000000Z-000000")),
    "one database": (_MANIFEST, lambda it: it.forge_manifest(databases=it.manifest.databases[:1])),
    "no version": (
        _MANIFEST,
        lambda it: it.forge_manifest(versions=it.manifest.versions.model_copy(update={"mlflow": "newest"})),
    ),
    "list missing": (_LIST, lambda it: (it.folder / _LIST).unlink()),
    "list cut": (_LIST, lambda it: it.change(_LIST, _half)),
    "list of another kind": (_LIST, lambda it: it.forge(_LIST, b"no gzip")),
    "list that ends early": (_LIST, lambda it: it.forge(_LIST, (it.folder / _LIST).read_bytes()[:-9])),
    "list with a foreign line": (_LIST, lambda it: it.forge(_LIST, gzip.compress(b'{"key": 5}\n'))),
    "list with a long line": (_LIST, lambda it: it.forge(_LIST, gzip.compress(b"x" * 2**20))),
    "dump missing": ("tidemill.dump", lambda it: (it.folder / "tidemill.dump").unlink()),
    "dump cut": ("tidemill.dump", lambda it: it.change("tidemill.dump", _half)),
    "dump altered": ("mlflow.dump", lambda it: it.change("mlflow.dump", _altered)),
    "dump empty": ("mlflow.dump", lambda it: it.forge("mlflow.dump", b"")),
    "dump cut when it was made": (
        "mlflow.dump",
        lambda it: it.forge("mlflow.dump", _half((it.folder / "mlflow.dump").read_bytes())),
    ),
    "golden altered": (_GOLDEN, lambda it: it.change(_GOLDEN, lambda _: b"x")),
    "golden of another kind": (_GOLDEN, lambda it: it.forge(_GOLDEN, b'{"deployment": 5}\n')),
    "object altered": ("bundles/", lambda it: it.change_object(_altered)),
    "object missing": ("/", lambda it: it.lose_object()),
}  # fmt: skip


async def test_whatever_is_wrong_with_a_backup_is_one_named_error_and_nothing_is_changed(
    make_stack: MakeStack, vault: Vault, tmp_path: Path
) -> None:
    stack, used = make_stack(golden_rows=2), make_stack()
    await fill(stack)
    await fill(used, "cars")
    made = (await vault.back_up(stack)).manifest
    before = await _state_of(used)
    for name, (what, damage) in _DAMAGES.items():
        place = tmp_path / "damaged"
        shutil.copytree(str(vault.target.store._backend.prefix), place)
        damage(Lying(place, made))
        target = BackupTarget(open_object_store(ObjectStoreSettings(url=f"file://{place}")))
        work = Work(used.settings, target, vault.keys, quiet)
        assert what in await _said_by_verify(work), name
        assert what in await _said_by_restore(Vault(target, vault.keys, vault.folder), used), name
        assert await _state_of(used) == before, name
        shutil.rmtree(place)


async def _said_by_verify(work: Work) -> str:
    try:
        _, checked = await work.verify("latest")
    except TidemillError as error:
        return error.detail
    assert not checked.ok
    return " ".join(finding.what for finding in checked.findings)


async def _said_by_restore(vault: Vault, stack: Stack) -> str:
    try:
        await vault.restore(stack, replace=True)
    except TidemillError as error:
        return error.detail
    return "it was restored"


async def _state_of(stack: Stack) -> object:
    marks = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tidemill%'"
    return (
        await rows_of(stack.tidemill, "SELECT name FROM models"),
        await rows_of(stack.tidemill, marks),
        await rows_of(stack.mlflow, marks),
        await objects_of(stack.store),
    )


async def test_what_is_named_like_a_backup_of_no_day_is_none(make_stack: MakeStack, vault: Vault) -> None:
    stack = make_stack(keep_last=1, keep_days=3, keep_weeks=3)
    await vault.target.store.put("backups/99999999T999999Z-abcdef/manifest.json", b"{}")
    made = await vault.back_up(stack)
    assert await vault.target.ids() == [made.manifest.id]


def test_a_manifest_of_a_newer_format_is_told_apart_from_a_damaged_one() -> None:
    for content, code in ((b'{"manifest": {"format": 2}}', "manifest_format_unknown"), (b"{}", "manifest_damaged")):
        with pytest.raises(Invalid) as refused:
            decode_manifest(content)
        assert refused.value.code == code
