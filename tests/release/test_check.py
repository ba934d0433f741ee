"""`make release-check` refuses what must not be released and names it."""

import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import need

ROOT = Path(__file__).parents[2]
Faults = Callable[..., Iterator[str]]


@pytest.fixture(scope="module")
def check() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "release/check.py"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that may be released as 0.2.0."""
    root = tmp_path / "project"
    (root / "src/tidemill").mkdir(parents=True)
    (root / "src/tidemill/__init__.py").write_text('"""Doc."""\n\n__version__ = "0.2.0"\n')
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## [0.2.0] - 2026-12-01\n")
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "requirements", root / "requirements")
    return root


def git(root: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gpg.format=ssh"]
    key = ["-c", f"user.signingkey={root.parent / 'key.pub'}"]
    subprocess.run(["git", *settings, *key, *arguments], cwd=root, check=True, capture_output=True, timeout=240)


@pytest.fixture
def tagged(project: Path) -> Path:
    """The project with a signed tag on main; its key is ``../key``, the allowed signers ``../signers``."""
    need("git", "apt-get install git")
    need("ssh-keygen", "apt-get install openssh-client")
    key = project.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=240)
    public = key.with_suffix(".pub").read_text()
    (project.parent / "signers").write_text(f't@example.org namespaces="git" {public}')
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--no-gpg-sign", "-m", "release")
    git(project, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(project, "tag", "-s", "v0.2.0", "-m", "release")
    return project


def test_what_is_ready_has_no_faults(check: dict[str, Any], tagged: Path) -> None:
    for name in ("version_faults", "changelog_faults", "lock_faults"):
        assert list(check[name](tagged)) == []
    assert list(check["tag_faults"](tagged, "v0.2.0", tagged.parent / "signers")) == []


def test_an_undated_changelog_is_named(check: dict[str, Any], project: Path) -> None:
    (project / "CHANGELOG.md").write_text("## [0.2.0] - unreleased\n## [0.1.0] - 2026-11-01\n")
    assert list(check["changelog_faults"](project)) == ["CHANGELOG.md: there is no line '## [0.2.0] - YYYY-MM-DD'"]


@pytest.mark.parametrize("version", ["0.2", "0.2.0-dev", "latest"])
def test_a_version_of_another_form_is_named(check: dict[str, Any], project: Path, version: str) -> None:
    (project / "src/tidemill/__init__.py").write_text(f'__version__ = "{version}"\n')
    assert len(list(check["version_faults"](project))) == 1


def test_a_lock_that_does_not_follow_the_project_is_named(check: dict[str, Any], project: Path) -> None:
    file = project / "pyproject.toml"
    file.write_text(
        file.read_text().replace('"httpx>=0.28"', '"httpx>=99"').replace('"ruff>=0.14"', '"ruff", "absent"')
    )
    found = list(check["lock_faults"](project))
    assert {line.split(" is ")[0] for line in found} == {
        *(f"requirements/{name}.lock: httpx" for name in ("platform", "dev", "image", "model-server")),
        "requirements/dev.lock: absent",
    }


def test_a_tag_of_another_version_commit_or_signer_is_refused(check: dict[str, Any], tagged: Path) -> None:
    faults: Faults = check["tag_faults"]
    signers = tagged.parent / "signers"
    git(tagged, "tag", "-s", "v0.3.0", "-m", "other")
    assert list(faults(tagged, "v0.3.0", signers)) == ["the tag is not v0.2.0"]
    assert list(faults(tagged, "v0.2.0", None)) == ["the tag carries no signature of an allowed signer"]
    (tagged.parent / "nobody").write_text("# nobody\n")
    assert list(faults(tagged, "v0.2.0", tagged.parent / "nobody")) == [
        "the tag carries no signature of an allowed signer"
    ]
    git(tagged, "commit", "--quiet", "--no-gpg-sign", "--allow-empty", "-m", "later")
    assert list(faults(tagged, "v0.2.0", signers)) == [
        "the tag is not the commit that is checked out", "the tag's commit is not on main",
    ]  # fmt: skip


def test_an_unsigned_tag_is_refused(check: dict[str, Any], tagged: Path) -> None:
    git(tagged, "tag", "--delete", "v0.2.0")
    git(tagged, "tag", "-a", "v0.2.0", "-m", "unsigned")
    found = list(check["tag_faults"](tagged, "v0.2.0", tagged.parent / "signers"))
    assert found == ["the tag carries no signature of an allowed signer"]


def test_the_locks_of_this_project_are_current(check: dict[str, Any]) -> None:
    assert list(check["lock_faults"](ROOT)) == []
