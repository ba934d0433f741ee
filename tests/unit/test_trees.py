"""Folders that somebody hostile filled are removed whole, and measured without being fooled."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidemill.jobs.scratch import ScratchSpace
from tidemill.kit.trees import MAX_DEPTH, remove_tree, tree_size
from tidemill.model_server.disk import StateDirectory
from tidemill.model_server.quarantine import LEAST_BYTES, size_of

MANY = 1100
"""More than functions may call each other."""
AS_NOBODY = """
import os
from pathlib import Path
from tidemill.kit.trees import remove_tree, tree_size
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
root = Path("tree")  # the folders above are closed to nobody
for mode in (0o000, 0o100, 0o300, 0o500, 0o600):
    (root / f"{mode:o}" / "below").mkdir(parents=True)
    (root / f"{mode:o}" / "below" / "file").write_bytes(bytes(10_000))
    (root / f"{mode:o}" / "below").chmod(mode)
    (root / f"{mode:o}").chmod(mode)
print(tree_size(root, 100).is_whole, remove_tree(root), root.exists())
"""


@pytest.fixture(autouse=True)
def nothing_deep_is_left(tmp_path: Path) -> Iterator[None]:
    """Not even by a test that failed: nobody else could remove it."""
    yield
    for path in tmp_path.iterdir():
        remove_tree(path)


def nested(root: Path, count: int = MANY, name: str = "d") -> None:
    """Below each other, with a file in the last one; by descriptors, since no path is so long."""
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    for _ in range(count):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
    os.write(file, bytes(10_000))
    os.close(file)
    os.close(folder)


def wide(root: Path) -> None:
    for number in range(100):
        (root / f"{number:03}" / "same" / "same").mkdir(parents=True)


def with_links(root: Path) -> None:
    root.mkdir()
    (root.parent / "kept").mkdir()
    (root.parent / "kept" / "file").write_text("kept")
    (root / "to-folder").symlink_to(root.parent / "kept")
    (root / "to-nowhere").symlink_to("nowhere")
    os.mkfifo(root / "pipe")


@pytest.mark.parametrize("fill", [nested, lambda root: nested(root, 40, "n" * 200), wide, with_links])
def test_a_tree_is_removed_whatever_is_in_it_and_nothing_beside_it(
    fill: Callable[[Path], None], tmp_path: Path
) -> None:
    fill(tmp_path / "tree")
    assert remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert [path.read_text() for path in tmp_path.glob("kept/file")] == ["kept"] * (tmp_path / "kept").exists()


def test_folders_that_their_owner_may_not_use_are_seen_and_removed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


def test_neither_a_link_nor_a_file_in_a_folders_place_is_touched(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("kept")
    (tmp_path / "link").symlink_to("folder")
    for place in ("link", "folder/file"):
        assert not remove_tree(tmp_path / place)
    assert (tmp_path / "link" / "file").read_text() == "kept"
    assert remove_tree(tmp_path / "never-there")


@pytest.mark.parametrize(
    ("depth", "is_whole"), [(0, True), (MAX_DEPTH - 1, True), (MAX_DEPTH, False), (2 * MAX_DEPTH, False)]
)
def test_a_tree_is_measured_down_to_the_greatest_depth_and_said_to_be_deeper(
    depth: int, is_whole: bool, tmp_path: Path
) -> None:
    nested(tmp_path / "tree", depth, "n" * 200)
    found = tree_size(tmp_path / "tree", 10_000)
    assert found.is_whole == is_whole
    assert found.files == min(depth + 1, MAX_DEPTH)
    assert found.size_bytes >= (10_000 if is_whole else 0)
    remove_tree(tmp_path / "tree")


def test_a_model_server_and_a_worker_start_where_a_model_left_deep_folders(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.close()
    nested(state.temporary / "model-x")
    nested(state.quarantine.folder / "damaged")
    StateDirectory(tmp_path / "state").close()
    assert not list(state.temporary.iterdir())
    assert size_of(state.quarantine.folder) > MANY * LEAST_BYTES
    scratch = ScratchSpace(tmp_path / "scratch")
    nested(tmp_path / "scratch" / "worker-x")
    (tmp_path / "scratch").chmod(0o700)
    (tmp_path / "scratch" / "worker-x" / "lock").write_text("A worker of Tidemill keeps the files of its jobs here.\n")
    assert scratch.remove_abandoned() == 1
    assert not list((tmp_path / "scratch").iterdir())
    remove_tree(state.quarantine.folder)
