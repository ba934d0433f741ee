"""Every file of a model server's state: damaged, empty, foreign, a folder in its place. It goes on, and tells."""

import asyncio
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.disks import SmallDisk, small_disk
from tests.integration.serving.test_ledger import Receiver, line
from tidemill.admin.main import app as admin
from tidemill.kit.errors import Conflict, Invalid, Unavailable
from tidemill.kit.hashing import sha256_of_bytes
from tidemill.kit.trees import remove_tree
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.ledger.probe import DiskProbe
from tidemill.model_server.ledger.segments import SegmentFolder
from tidemill.model_server.ledger.shipper import Shipper
from tidemill.model_server.ledger.writer import LedgerLimits, LedgerWriter
from tidemill.model_server.main import ModelServer
from tidemill.model_server.slots import Slots
from tidemill.model_server.sync.bundles import BundleCache
from tidemill.settings.model import ModelServerSettings

Damage = Callable[[Path], None]
_NOBODY = 65534


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00 not ours \n" * 9)


def _nulls(path: Path) -> None:
    path.write_bytes(bytes(200))


def _other_json(path: Path) -> None:
    path.write_text('{"version": 99, "deployments": 7}')


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("x")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


DAMAGES: tuple[Damage, ...] = (_empty, _foreign, _nulls, _other_json, _folder, _dangling)
FILES = (
    "server.id",
    "snapshot.json",
    "serving.json",
    "snapshot.json.part",
    "lock",
    "ledger/lost+found",
    "ledger/0000000000000003.wal",
    "ledger/0000000000000003.mark",
    "ledger/9999999999999999.wal",
    "ledger/notes.wal",
    "ledger/3.wal",
    "ledger/.nfs0001",
    "ledger/rejected/x.ndjson",
    "ledger/rejected/" + "a" * 32 + ".json",
    "ledger/rejected/" + "a" * 32 + ".retry",
    "models/x",
    "bundles/x.tar",
    "bundles/x.part",
)
FOLDERS = ("bundles", "models", "ledger", "ledger/rejected", "quarantine")


def _settings(state: Path, **own: Any) -> ModelServerSettings:
    # The api's port is closed: nothing is heard of it, as on a bad day.
    return ModelServerSettings(key="tm_test", state_dir=state, api_url="http://127.0.0.1:9", **own)  # type: ignore[arg-type]


async def _starts(state: Path, **own: Any) -> ModelServer:
    """A whole server on the folder: started, one pass of what it does by itself, stopped."""
    server = ModelServer(_settings(state, **own), "test")
    await server._synchronizer.restore()
    await server._writer.append(line(1))
    with pytest.raises((Unavailable, OSError)):
        await server._shipper.ship_waiting()
    assert server._writer.is_writable()
    await server._close()
    return server


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
async def test_a_server_starts_whatever_lies_in_place_of_its_files(tmp_path: Path, damage: Damage) -> None:
    for number, name in enumerate(FILES):
        state = tmp_path / str(number)
        path = state / name
        path.parent.mkdir(parents=True)
        damage(path)
        await _starts(state)
        await _starts(state)


@pytest.mark.parametrize("name", FOLDERS)
async def test_a_file_in_place_of_a_folder_is_moved_aside(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    await _starts(tmp_path)
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and file.read_bytes() == b"mine"]
    assert path.is_dir() or name == "quarantine"
    assert len(kept) == 1


async def test_a_slot_that_is_a_file_costs_nobody_a_start(tmp_path: Path) -> None:
    (tmp_path / "slot-000").write_text("mine")
    await _starts(tmp_path, state_slots=2)
    assert [path.read_text() for path in tmp_path.rglob("*slot-000") if path.is_file()] == ["mine"]


def test_a_damaged_server_id_is_kept_aside_and_told(tmp_path: Path) -> None:
    (tmp_path / "server.id").write_bytes(b"\x00\xff")
    state = StateDirectory(tmp_path)
    made = state.server_id()
    assert state.server_id() == made
    assert state.quarantine.held().files == 1
    assert [path.read_bytes() for path in state.quarantine.paths()] == [b"\x00\xff"]
    state.close()


async def test_a_damaged_bundle_is_fetched_anew(tmp_path: Path) -> None:
    content = b"a bundle"
    sha256, fetched = sha256_of_bytes(content), []

    async def download(_sha256: str, _size_bytes: int, target: Path) -> None:
        fetched.append(target)
        target.write_bytes(content)

    state = StateDirectory(tmp_path)
    cache, bundle = BundleCache(state, download), state.bundles / f"{sha256}.tar"
    for damage in (_empty, _foreign, _folder, _dangling):
        damage(bundle)
        assert (await cache._fetched(sha256, len(content))).read_bytes() == content
        bundle.unlink()
    assert (len(fetched), state.quarantine.held().files) == (4, 4)
    state.close()


async def _left_behind(folder: SegmentFolder, count: int) -> Path:
    """A segment as a killed server leaves it, all of its rows answered."""
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=1_000_000))
    for number in range(count):
        await writer.append(line(number))
    await asyncio.to_thread(writer.close)
    return folder.path(max(folder.numbers()))


async def _shipped(root: Path) -> tuple[list[int], Shipper]:
    folder, receiver = SegmentFolder(root), Receiver()
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=1_000_000))
    shipper = Shipper(folder, writer, receiver, 0.01)
    await shipper.ship_waiting()
    await asyncio.to_thread(writer.close)
    assert folder.numbers() == []
    return [row["n"] for row in receiver.rows], shipper


@pytest.mark.parametrize(
    ("cut_bytes", "kept", "lost", "aside"),
    [(5, 9, 1, 1), (len(line(1)), 9, 1, 0), (len(line(1)) + 1, 8, 2, 1), (3 * len(line(1)), 7, 3, 0)],
)
async def test_answered_rows_that_were_cut_away_are_counted_as_lost(
    tmp_path: Path, cut_bytes: int, kept: int, lost: int, aside: int
) -> None:
    segment = await _left_behind(SegmentFolder(tmp_path / "ledger"), 10)
    os.truncate(segment, segment.stat().st_size - cut_bytes)
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert rows == list(range(kept))
    assert (shipper.aside.lost_rows, shipper.aside.rows) == (lost, aside)
    assert (await _shipped(tmp_path / "ledger"))[1].aside.lost_rows == lost


async def test_a_segment_that_vanished_is_counted_as_lost(tmp_path: Path) -> None:
    (await _left_behind(SegmentFolder(tmp_path / "ledger"), 10)).unlink()
    assert (await _shipped(tmp_path / "ledger"))[1].aside.lost_rows == 10


async def test_a_torn_end_that_nobody_was_answered_for_is_no_loss(tmp_path: Path) -> None:
    segment = await _left_behind(SegmentFolder(tmp_path / "ledger"), 10)
    with segment.open("ab") as out:
        out.write(line(11) + line(12)[:-3])
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert rows == [*range(10), 11]
    assert (shipper.aside.lost_rows, shipper.aside.rows) == (0, 0)


async def test_a_damaged_middle_costs_its_own_rows_alone(tmp_path: Path) -> None:
    segment = await _left_behind(SegmentFolder(tmp_path / "ledger"), 10)
    content = bytearray(segment.read_bytes())
    size = len(line(1))
    content[4 * size + 20] ^= 1
    content[6 * size - 1] = 0  # the line break between rows 5 and 6
    segment.write_bytes(content)
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert rows == [0, 1, 2, 3, 7, 8, 9]
    assert (shipper.aside.lost_rows, shipper.aside.rows) == (1, 2)


async def test_a_row_in_the_place_of_another_is_counted_as_the_loss_of_that(tmp_path: Path) -> None:
    segment = await _left_behind(SegmentFolder(tmp_path / "ledger"), 4)
    segment.write_bytes(line(0) * 4)
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert (set(rows), shipper.aside.lost_rows) == ({0}, 3)


async def test_segments_that_were_renamed_or_doubled_are_shipped_and_no_loss_is_told(tmp_path: Path) -> None:
    folder = SegmentFolder(tmp_path / "ledger")
    first = await _left_behind(folder, 3)
    shutil.copy(await _left_behind(folder, 5), folder.path(7))
    first.rename(folder.path(9))
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert (len(rows), set(rows)) == (3 + 5 + 5, set(range(5)))  # the api keeps each of them once
    assert (shipper.aside.lost_rows, shipper.aside.rows) == (0, 0)


async def test_rows_of_a_segment_under_a_strange_name_are_shipped_on_an_operators_word(tmp_path: Path) -> None:
    segment = await _left_behind(SegmentFolder(tmp_path / "ledger"), 3)
    segment.rename(segment.with_name("segment.bak"))
    (segment.parent / "notes.txt").write_text("not a row\n")
    rows, shipper = await _shipped(tmp_path / "ledger")
    assert (rows, shipper.aside.lost_rows) == ([], 3)
    place = ["--state-dir", str(tmp_path)]
    listed = json.loads(await asyncio.to_thread(_admin, "list", *place, "--output", "json"))
    names = {kept["name"].partition("-")[2]: kept["name"] for kept in listed if kept["kind"] == "file"}
    assert "3 rows" in await asyncio.to_thread(_admin, "retry", names["segment.bak"], *place)
    refused = CliRunner().invoke(admin, ["ledger", "retry", names["notes.txt"], *place])
    assert isinstance(refused.exception, Invalid)
    assert (await _shipped(tmp_path / "ledger"))[0] == [0, 1, 2]
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == [names["notes.txt"]]


async def test_what_is_set_aside_counts_within_the_budget_and_refuses_when_it_is_full(tmp_path: Path) -> None:
    folder, receiver = SegmentFolder(tmp_path / "ledger"), Receiver()
    receiver.poison = set(range(50))
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=20_000))
    shipper = Shipper(folder, writer, receiver, 0.01)
    number = 0
    while not writer.is_full:
        await writer.append(line(number))
        await shipper.ship_waiting()
        number += 1
    assert number < 50
    with pytest.raises(Unavailable) as full:
        await writer.append(line(number))
    assert full.value.code == "ledger_full"
    assert 0 < writer.aside_bytes <= 20_000 + 4096
    for entry in list(folder.set_aside.entries()):
        folder.set_aside.discard(entry.name)
    await shipper.ship_waiting()
    await writer.append(line(51))
    await asyncio.to_thread(writer.close)


async def test_an_operator_looks_at_repairs_retries_and_discards(tmp_path: Path) -> None:
    folder, receiver = SegmentFolder(tmp_path / "ledger"), Receiver()
    receiver.poison = {1, 2}
    writer = LedgerWriter(folder, LedgerLimits(max_bytes=1_000_000))
    shipper = Shipper(folder, writer, receiver, 0.01)
    for number in range(3):
        await writer.append(line(number))
        await shipper.ship_waiting()
    place = ["--state-dir", str(tmp_path)]
    shown = await asyncio.to_thread(_admin, "list", *place, "--output", "json")
    listed = json.loads(shown)
    assert [(each["kind"], each["rows"], each["reasons"]) for each in listed] == [
        ("rows", 1, {"segment_poisoned": 1})
    ] * 2
    first, second = (each["name"] for each in listed)
    mended = (await asyncio.to_thread(_admin, "show", first, *place)).replace('"n": ', '"n": 10')
    (tmp_path / "mended").write_text(mended)
    await asyncio.to_thread(_admin, "retry", first, "--repaired", str(tmp_path / "mended"), *place)
    await asyncio.to_thread(_admin, "retry", second, *place)
    waiting = json.loads(await asyncio.to_thread(_admin, "list", *place, "--output", "json"))
    assert [(each["kind"], each["rows"]) for each in waiting] == [("retry", 1)] * 2
    assert await asyncio.to_thread(_admin, "show", waiting[0]["name"], *place) == mended
    assert "0 rows" in await asyncio.to_thread(_admin, "retry", "--all", *place)
    await shipper.ship_waiting()
    assert sorted(row["n"] for row in receiver.rows) == [0, 101]
    assert shipper.aside.rows == 1
    await asyncio.to_thread(_admin, "discard", "--all", "--yes", *place)
    await shipper.ship_waiting()
    assert (shipper.aside.rows, writer.aside_bytes) == (0, 0)
    await asyncio.to_thread(writer.close)


def _admin(*arguments: str) -> str:
    result = CliRunner().invoke(admin, ["ledger", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


async def test_readiness_tells_a_full_disk_and_returns_with_its_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ModelServer(_settings(tmp_path), "test")
    ready = server.checks()["disk"]
    assert await ready()
    with monkeypatch.context() as disk:

        def full(_descriptor: int, _data: Any) -> int:
            raise OSError(28, "No space left on device")

        disk.setattr(os, "write", full)
        disk.setattr(DiskProbe, "_try", lambda _self: False)
        with pytest.raises(Unavailable):
            await server._writer.append(line(1))
        assert not await ready()
    monkeypatch.setattr("tidemill.model_server.ledger.probe._EVERY_SECONDS", 0)
    assert await ready()
    await server._writer.append(line(1))
    shutil.rmtree(tmp_path / "ledger")
    with pytest.raises(Unavailable):  # nothing is answered into a file that is deleted
        await server._writer.append(line(2))
    assert not await ready()
    await server._control_plane.close()
    server._state.close()


def _read_only(disk: SmallDisk) -> None:
    disk.make_read_only()


def _without_bytes(disk: SmallDisk) -> None:
    disk.fill()


def _without_files(disk: SmallDisk) -> None:
    for number in itertools.count():
        try:
            (disk.path / f"full-{number}").touch()
        except OSError:
            return


def _given_back(disk: SmallDisk) -> None:
    disk.make_read_only(False)
    for path in (*disk.path.glob("full-*"), *disk.path.glob("filler")):
        path.unlink()


@pytest.mark.parametrize("state", ["new", "used"])
@pytest.mark.parametrize("slots", [0, 2])
@pytest.mark.parametrize("harm", [_read_only, _without_bytes, _without_files], ids=lambda harm: harm.__name__[1:])
async def test_a_server_starts_on_a_disk_that_cannot_be_written_and_is_ready_when_it_can(
    harm: Callable[[SmallDisk], None], slots: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.model_server.ledger.probe._EVERY_SECONDS", 0)
    with small_disk(2**20, most_files=80) as disk:
        if slots:
            (disk.path / "slot-000").mkdir()
        if state == "used":
            await _starts(disk.path, state_slots=slots)
        harm(disk)
        server = ModelServer(_settings(disk.path, state_slots=slots), "test")
        ready = server.checks()["disk"]
        assert not await ready()
        await server._synchronizer.restore()
        with pytest.raises(Unavailable):
            await server._writer.append(line(2))
        with pytest.raises(Conflict):
            StateDirectory(server._state.root)
        _given_back(disk)
        assert await ready()
        await server._writer.append(line(3))
        await server._close()
        assert server._segments.size_bytes() == len(line(3)) + (len(line(1)) if state == "used" else 0)


async def test_slots_on_a_disk_where_none_can_be_made_tell_of_the_disk() -> None:
    with small_disk(2**20) as disk:
        disk.make_read_only()
        with pytest.raises(Unavailable) as refused:
            Slots(disk.path, 2).claim()
    assert refused.value.code == "disk_unavailable"


async def test_a_read_only_disk_costs_no_server_when_a_deployment_goes(tmp_path: Path) -> None:
    with small_disk(2**20) as disk:
        state = StateDirectory(disk.path / "state")
        cache = BundleCache(state, _no_download)
        bundle = state.bundles / f"{'a' * 64}.tar"
        bundle.write_bytes(b"x")
        state.close()  # its lock is a file that is open for writing
        disk.make_read_only()
        cache.keep_only([])
        assert bundle.exists()
        disk.make_read_only(False)
        cache.keep_only([])
        assert not bundle.exists()


async def _no_download(_sha256: str, _size_bytes: int, _target: Path) -> None:
    raise AssertionError("nothing is fetched")


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """Of a user to whom modes matter, as whom the test runs."""
    folder, user = Path(tempfile.mkdtemp(prefix="tidemill-ordinary-")), os.geteuid()
    if user == 0:
        os.chown(folder, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
    yield folder
    os.seteuid(user)
    remove_tree(folder)


@pytest.mark.parametrize(
    ("name", "is_kept_aside"),
    [
        ("lock", True),
        ("server.id", True),
        ("snapshot.json", True),
        ("ledger/x", True),
        ("bundles/", False),
        ("models/", False),
        ("ledger/0000000000000003.wal", False),  # it waits where it is, and holds up no other
        ("ledger/probe.part", False),
        ("temporary/", False),
    ],
)
async def test_what_is_closed_to_a_server_does_not_keep_it_from_serving(
    ordinary_folder: Path, name: str, is_kept_aside: bool
) -> None:
    path = ordinary_folder / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir(mode=0) if name.endswith("/") else path.touch(mode=0)
    await _starts(ordinary_folder)
    kept = [each.name.partition("-")[2] for each in (ordinary_folder / "quarantine").glob("*")]
    assert kept == ([path.name] if is_kept_aside else [])


async def test_a_ledger_that_is_closed_to_a_server_is_told_until_it_is_opened(
    ordinary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.model_server.ledger.probe._EVERY_SECONDS", 0)
    (ordinary_folder / "ledger").mkdir(mode=0)
    server = ModelServer(_settings(ordinary_folder), "test")
    ready = server.checks()["disk"]
    assert not await ready()
    with pytest.raises(Unavailable):
        await server._writer.append(line(1))
    (ordinary_folder / "ledger").chmod(0o700)
    assert await ready()
    await server._writer.append(line(1))
    await server._close()
