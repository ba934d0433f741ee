"""Model servers that share one disk: whose folder is whose, and what becomes of a ledger without a server."""

from pathlib import Path

import pytest

from tidemill.kit.errors import Conflict, Unavailable
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.ledger.lines import encode
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.slots import Heir, Slots
from tidemill.schemas.serving import SegmentReceipt


class _Api:
    """Takes segments and remembers their rows; away while told to be."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.away = False

    async def ship(self, content: bytes) -> SegmentReceipt:
        if self.away:
            raise Unavailable("api_unavailable", "The api does not answer.")
        rows = content.splitlines()
        self.rows += rows
        return SegmentReceipt(received=len(rows), stored=len(rows), duplicates=0, rejected=[])


def _leave(state: StateDirectory, *rows: bytes) -> None:
    """What a server that was killed leaves in its ledger."""
    folder = SegmentFolder(state.ledger)
    folder.path(1).write_bytes(b"".join(encode(row) for row in rows))


def test_each_server_claims_a_slot_of_its_own_until_none_is_left(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 2)
    first, second = slots.claim(), slots.claim()
    assert first.root != second.root
    with pytest.raises(Conflict):
        slots.claim()
    first.close()
    assert slots.claim().root == first.root


def test_a_new_server_takes_over_the_slot_whose_ledger_waits(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 3)
    first, second = slots.claim(), slots.claim()
    _leave(second, b'{"row": 1}')
    identity = second.server_id()
    first.close()
    second.close()
    taken = slots.claim()
    assert (taken.root, taken.server_id()) == (second.root, identity)


async def test_the_ledger_of_a_server_that_never_returns_is_shipped_by_another(tmp_path: Path) -> None:
    slots, api = Slots(tmp_path, 3), _Api()
    living, gone = slots.claim(), slots.claim()
    _leave(gone, b'{"row": 1}', b'{"row": 2}')
    heir = Heir(slots, api.ship)
    await heir.ship_abandoned()
    assert api.rows == []  # its server still holds it
    gone.close()
    await heir.ship_abandoned()
    assert api.rows == [b'{"row": 1}', b'{"row": 2}']
    assert SegmentFolder(gone.ledger).numbers() == []
    living.close()


async def test_an_abandoned_ledger_stays_while_the_api_is_away(tmp_path: Path) -> None:
    slots, api = Slots(tmp_path, 2), _Api()
    gone = slots.claim()
    _leave(gone, b'{"row": 1}')
    gone.close()
    api.away = True
    with pytest.raises(Unavailable):
        await Heir(slots, api.ship).ship_abandoned()
    api.away = False
    await Heir(slots, api.ship).ship_abandoned()
    assert api.rows == [b'{"row": 1}']
    assert slots.claim().root == gone.root  # nobody holds it any more


async def test_a_slot_whose_disk_fails_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slots, api = Slots(tmp_path, 2), _Api()
    broken, gone = slots.claim(), slots.claim()
    for state, row in ((broken, b"1"), (gone, b"2")):
        _leave(state, row)
        state.close()

    def read(path: Path) -> bytes:
        if path.is_relative_to(broken.root):
            raise OSError(5, "Input/output error")
        return path.read_bytes()

    monkeypatch.setattr("tidemill.model_server.ledger.shipper.read_plain", read)
    with pytest.raises(OSError, match="Input/output"):
        await Heir(slots, api.ship).ship_abandoned()
    assert api.rows == [b"2"]
    assert SegmentFolder(broken.ledger).numbers() == [1]
