"""State directories of model servers that share one disk: each claims a slot, nobody's ledger stays behind.

Replicas of a container have no names to keep their folders apart by, and whoever takes a replica away does not wait
until its ledger is shipped. So the folder that they share holds numbered slots. A server claims a free one by its lock,
which the kernel lifts however the server ends, and takes one with unshipped predictions first. Ledgers that still lie
in slots without a server are shipped by those that run.
"""

import asyncio
import contextlib
import logging
from collections.abc import Generator, Iterator
from pathlib import Path

from tidemill.kit.errors import Conflict, Forbidden, TidemillError
from tidemill.kit.own_files import own_folder, told
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.shipper import Ship, Shipper
from tidemill.model_server.quarantine import Quarantine, ensure_folder

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0


class Slots:
    """At most ``count`` state directories below ``root``."""

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        self._count = count
        ensure_folder(root, Quarantine(root.parent))
        own_folder(root)

    def claim(self) -> StateDirectory:
        """A free slot, one with a ledger that waits if there is any.

        One whose disk cannot be written is taken if there is no other. Raises Conflict if every slot is in use,
        Unavailable if none can be used for the disk's sake.
        """
        paths = sorted(self._paths(), key=lambda path: not _has_segments(path))
        failures: list[OSError] = []
        for even_unprepared in (False, True):
            for path in paths:
                if (claimed := _claimed(path, failures, even_unprepared=even_unprepared)) is not None:
                    return claimed
        if failures:
            raise told(failures[0])
        raise Conflict("state_slots_in_use", f"All {self._count} slots of the state directory are in use.")

    def abandoned(self) -> Generator[StateDirectory, None, None]:
        """Slots without a server whose ledgers wait, each claimed while it is looked at."""
        for path in self._paths():
            if _has_segments(path) and (claimed := _claimed(path, [])) is not None:
                try:
                    yield claimed
                finally:
                    claimed.close()

    def _paths(self) -> Iterator[Path]:
        return (self._root / f"slot-{number:03d}" for number in range(self._count))


class Heir:
    """Ships the ledgers that vanished servers left in their slots."""

    def __init__(self, slots: Slots, ship: Ship, look_seconds: float = _LOOK_SECONDS) -> None:
        self._slots = slots
        self._ship = ship
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Look after the slots until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                await self.ship_abandoned()
            except (TidemillError, OSError) as error:
                reason = error.code if isinstance(error, TidemillError) else type(error).__name__
                log.warning("An abandoned ledger could not be shipped", extra={"reason": reason})

    async def ship_abandoned(self) -> None:
        """Ship every ledger without a server. Raises the first failure; what was not shipped stays where it is.

        A disk that fails in one slot holds up no other.
        """
        failures: list[OSError] = []
        with contextlib.closing(self._slots.abandoned()) as abandoned:
            for state in abandoned:
                try:
                    await self._ship_all_of(state)
                except OSError as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    async def _ship_all_of(self, state: StateDirectory) -> None:
        ledger = _ClosedLedger(SegmentFolder(state.ledger, state.quarantine))
        await Shipper(ledger.folder, ledger, self._ship, self._look_seconds).ship_waiting()
        log.info("An abandoned ledger was shipped", extra={"child": state.root.name})


class _ClosedLedger:
    """The segments of a ledger that nobody writes."""

    def __init__(self, folder: SegmentFolder) -> None:
        self.folder = folder

    async def rotate(self) -> None:
        """No segment is open."""

    def closed_segments(self) -> list[int]:
        return self.folder.numbers()

    def forget(self, number: int, size_bytes: int) -> None:
        self.folder.delete(number)

    def count_aside(self) -> None:
        """Nobody is refused because of it."""


def _claimed(path: Path, failures: list[OSError], *, even_unprepared: bool = False) -> StateDirectory | None:
    """None for a slot that cannot be used; added to ``failures`` if that is its disk's fault."""
    try:
        state = StateDirectory(path)
        if even_unprepared or state.prepared.failure is None:
            return state
        state.close()
        raise state.prepared.failure
    except Conflict:
        return None
    except Forbidden as error:  # somebody else's folder: the other slots still serve
        log.warning("A slot cannot be used", extra={"child": path.name, "reason": error.code})
        return None
    except OSError as error:  # of this slot alone, such as a disk that fails there
        log.error("A slot cannot be used", extra={"child": path.name, "reason": error.errno})  # noqa: TRY400 - the number says it
        failures.append(error)
        return None


def _has_segments(path: Path) -> bool:
    ledger = path / "ledger"
    return any(ledger.glob("*.wal")) or any((ledger / "rejected").glob("*.retry"))
