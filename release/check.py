"""May this be released? `make release-check`, with TAG=v0.2.0 SIGNERS=FILE for a tag that exists.

Checks that the tag is signed by one of the signers, names the version, and lies on main; that the changelog has a dated
part for the version; that the locks hold what pyproject.toml asks for; and that the reference pages fit the code.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 120
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_LOCKED_EXTRAS = {
    "platform": {"server", "training", "tracing", "local", "demo"},
    "dev": {"server", "training", "tracing", "local", "demo", "dev"},
    "image": {"server", "training", "tracing"},
    "model-server": {"serving", "tracing"},
}


def version_of(root: Path) -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', (root / "src/tidemill/__init__.py").read_text(), re.MULTILINE)
    return found[1] if found else ""


def version_faults(root: Path) -> Iterator[str]:
    if not _VERSION.fullmatch(version_of(root)):
        yield "src/tidemill/__init__.py: the version is not like 0.2.0 or 0.2.0rc1"


def changelog_faults(root: Path) -> Iterator[str]:
    heading = rf"^## \[{re.escape(version_of(root))}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (root / "CHANGELOG.md").read_text(), re.MULTILINE):
        yield f"CHANGELOG.md: there is no line '## [{version_of(root)}] - YYYY-MM-DD'"


def lock_faults(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for name, extras in _LOCKED_EXTRAS.items():
        lines = [*project["dependencies"], *(line for e in extras for line in project["optional-dependencies"][e])]
        locked = _PINNED.findall((root / f"requirements/{name}.lock").read_text())
        pinned = {canonicalize_name(package): Version(version) for package, version in locked}
        for wanted in map(Requirement, lines):
            present = pinned.get(canonicalize_name(wanted.name))
            if present is None or not wanted.specifier.contains(present, prereleases=True):
                yield f"requirements/{name}.lock: {wanted.name} is not locked as pyproject.toml asks; run make lock"


def page_faults(root: Path) -> Iterator[str]:
    if _run([sys.executable, str(root / "docs/generate.py"), "--check"], root) is None:
        yield "docs: the reference pages are out of date; run make docs"
    if _run([sys.executable, "-m", "tidemill.api.openapi"], root) != (root / "docs/openapi.json").read_text():
        yield "docs/openapi.json is out of date; run make docs"


def tag_faults(root: Path, tag: str, signers: Path | None) -> Iterator[str]:
    if tag != f"v{version_of(root)}":
        yield f"the tag is not v{version_of(root)}"
    trust = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}"]
    if signers is None or _run(["git", *trust, "verify-tag", "--", tag], root) is None:
        yield "the tag carries no signature of an allowed signer"
    if _run(["git", "rev-parse", "HEAD"], root) != _run(["git", "rev-parse", f"refs/tags/{tag}^{{commit}}"], root):
        yield "the tag is not the commit that is checked out"
    if _run(["git", "merge-base", "--is-ancestor", "HEAD", "origin/main"], root) is None:
        yield "the tag's commit is not on main"


def _run(command: list[str], root: Path) -> str | None:
    """What the command printed; None if it failed."""
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    return done.stdout if done.returncode == 0 else None


def faults(root: Path, tag: str | None, signers: Path | None) -> Iterator[str]:
    yield from version_faults(root)
    yield from changelog_faults(root)
    yield from lock_faults(root)
    yield from page_faults(root)
    if tag is not None:
        yield from tag_faults(root, tag, signers)


def main() -> int:
    parser = argparse.ArgumentParser(description="May this be released?")
    parser.add_argument("--tag", help="the tag to be released, such as v0.2.0")
    parser.add_argument("--signers", type=Path, help="file of the allowed signers")
    options = parser.parse_args()
    found = list(faults(ROOT, options.tag, options.signers and options.signers.resolve()))
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    if not found:
        sys.stdout.write(f"{version_of(ROOT)} may be released.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
