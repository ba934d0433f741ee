"""`make lint` finds what is wrong in the files that are not Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import need

ROOT = Path(__file__).parents[2]
BROKEN = {
    ".github/workflows/ci.yml": ("jobs:\n  lint:", "jobz:\n  lint:", "jobz"),
    ".github/workflows/deploy.yml": ("on:\n  push:\n    branches: [main]", "on: pull_request_target", "dangerous"),
    ".github/workflows/release.yml": (
        "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "actions/checkout@v7",
        "unpinned",
    ),
    ".github/actions/rollout/action.yml": ("using: composite", "using: compost", "compost"),
    ".github/dependabot.yml": ("interval: weekly", "interval: never", "never"),
}
ADDED = {
    "Dockerfile": ("FROM debian:latest\nRUN cd /tmp\n", "DL3007"),
    "deploy/compose.yaml": ("services:\n  api:\n    imag: tidemill\n", "imag"),
    "deploy/start": ("#!/usr/bin/env bash\nrm -rf $1/*\n", "SC2086"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    need("git", "apt-get install git")
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    (tmp_path / "release").mkdir()
    shutil.copy(ROOT / "release/lint-files", tmp_path / "release")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=240)
    return tmp_path


def lint(root: Path) -> tuple[int, str]:
    """Without Go, so that nothing is fetched."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PATH": "/usr/bin:/bin"}
    command = [str(root / "release/lint-files"), str(Path(sys.executable).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_is_sound_passes_and_what_is_left_out_is_said(copy: Path) -> None:
    code, output = lint(copy)
    assert code == 0, output
    assert "Checked 4 workflows" in output


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: Path(file).name)
def test_a_broken_file_is_named(copy: Path, file: str) -> None:
    before, after, words = BROKEN[file]
    text = (copy / file).read_text()
    assert before in text
    (copy / file).write_text(text.replace(before, after))
    code, output = lint(copy)
    assert code != 0
    assert words in output


@pytest.mark.parametrize("file", ADDED, ids=lambda file: Path(file).name)
def test_a_new_file_is_checked_without_being_told(copy: Path, file: str) -> None:
    content, words = ADDED[file]
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).write_text(content)
    code, output = lint(copy)
    assert code != 0
    assert words in output
