"""Deleting what somebody else has filled."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.kit.trees import discard_tree, remove_tree


@contextlib.contextmanager
def deep_tree(folder: Path, levels: int = 1100) -> Iterator[None]:
    """Deeper than Python's stack, than a process has descriptors, and longer than a path may be."""
    before = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(levels):
            Path("xxxxxxxx").mkdir()
            os.chdir("xxxxxxxx")
        Path("file").write_text("x")
        os.chdir(before)
        yield
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", folder], check=True, timeout=30)  # pytest itself could not


def test_a_tree_goes_however_deep_closed_or_full_of_links_it_is_and_nothing_else(tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    (tree / "a" / "b").mkdir(parents=True)
    other.mkdir()
    (other / "precious").write_text("x")
    (tree / "a" / "link").symlink_to(other)
    (tree / "a" / "b" / "file").symlink_to(other / "precious")
    (tree / "a" / "closed").mkdir(mode=0)
    os.mkfifo(tree / "a" / "pipe")
    with deep_tree(tree):
        remove_tree(tree)
        assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (other / "precious").read_text() == "x"
    remove_tree(tree)


def test_a_link_or_a_file_in_place_of_a_tree_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(OSError, match="Not a directory"):
        remove_tree(tmp_path / "link")
    discard_tree(tmp_path / "link")
    assert other.is_dir()
