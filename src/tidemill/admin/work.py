"""What the commands and the schedule do: open target, keys and scratch, work, remember the outcome."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tidemill.admin.drill import Drill, DrillResult
from tidemill.backup.create import Made, Say, create_backup
from tidemill.backup.manifest import DamagedBackup, Manifest
from tidemill.backup.record import Outcome, recorded
from tidemill.backup.restore import Restore, Restored
from tidemill.backup.sealing import Keys, read_keys
from tidemill.backup.stack import Stack, stack_of
from tidemill.backup.target import BackupTarget, open_target, refuse_overlap
from tidemill.backup.verify import Checked, check_store, verify_backup
from tidemill.db.engine import create_session_factory
from tidemill.jobs.scratch import ScratchSpace
from tidemill.kit.errors import Invalid, NotFound
from tidemill.settings.model import Settings


@dataclass(frozen=True)
class Work:
    """A target with its keys, and the settings of a stack."""

    settings: Settings
    target: BackupTarget
    keys: Keys
    say: Say

    async def back_up(self) -> Made:
        refuse_overlap(self.settings)
        stack = stack_of(self.settings)
        async with stack.engine() as engine, scratch(self.settings) as folder:
            return await recorded(
                create_session_factory(engine),
                "backup",
                lambda: create_backup(stack, self.target, self.keys, folder, self.say),
                _outcome_of_backup,
            )

    async def restore(self, name: str, replace: bool) -> Restored:
        manifest = await self.manifest(name)
        async with scratch(self.settings) as folder:
            restore = Restore(self.target, manifest, stack_of(self.settings), self.keys, folder, self.say)
            return await restore.run(replace)

    async def verify(self, name: str) -> tuple[Manifest, Checked]:
        manifest = await self.manifest(name)
        async with scratch(self.settings) as folder:
            programs = self.settings.backup.programs_dir
            return manifest, await verify_backup(self.target, manifest, self.keys, programs, folder)

    async def drill(self, name: str) -> DrillResult:
        stack = stack_of(self.settings)
        async with stack.engine() as engine, scratch(self.settings) as folder:
            return await recorded(
                create_session_factory(engine), "drill", lambda: self._drill(stack, name, folder), _outcome_of_drill
            )

    async def _drill(self, stack: Stack, name: str, folder: Path) -> DrillResult:
        return await Drill(stack, self.target, await self.manifest(name), self.keys, folder, self.say).run()

    async def backups(self) -> list[Manifest | DamagedBackup]:
        """Newest first; one that cannot be read hides none of the others."""
        return [await self._described(backup_id) for backup_id in reversed(await self.target.ids())]

    async def _described(self, backup_id: str) -> Manifest | DamagedBackup:
        try:
            return await self.target.manifest(backup_id)
        except (Invalid, NotFound) as error:
            return DamagedBackup(id=backup_id, damaged=error.code)

    async def manifest(self, name: str) -> Manifest:
        """Of an id or ``latest``. Raises NotFound."""
        return await self.target.manifest(await self.target.resolve(name))


def work_on(settings: Settings, say: Say) -> Work:
    """Raises Invalid for a missing target or unusable keys."""
    return Work(settings, open_target(settings.backup), read_keys(settings.backup), say)


async def check_live_store(settings: Settings, read: bool) -> Checked:
    """As `tidemill.backup.verify.check_store`."""
    async with scratch(settings) as folder:
        return await check_store(stack_of(settings), folder, read)


@asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[Path]:
    """An empty folder; what killed commands left in the scratch folder goes first."""
    space = ScratchSpace(settings.backup.scratch_dir)
    space.remove_abandoned()
    try:
        async with space.directory() as folder:
            yield folder
    finally:
        space.close()


def _outcome_of_backup(made: Made) -> Outcome:
    manifest = made.manifest
    objects = manifest.objects.model_dump(exclude={"list"})
    detail = {**objects, "missing_count": manifest.missing_count, "pruned": len(made.pruned)}
    return Outcome(True, manifest.id, manifest.size_bytes, detail)


def _outcome_of_drill(result: DrillResult) -> Outcome:
    detail = {"dangling": result.dangling, "versions": [asdict(each) for each in result.versions]}
    return Outcome(result.passed, result.backup_id, None, detail)
