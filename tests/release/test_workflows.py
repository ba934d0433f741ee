"""What GitHub runs: pinned, with the least rights, bounded in time, and with nothing a stranger wrote in a script."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
_PINNED = re.compile(r"uses: +([\w-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")
_WRITES = {
    "image.yml": {"packages", "id-token", "attestations"},
    "deploy.yml": {"packages", "id-token", "attestations"},
    "release.yml": {"packages", "id-token", "attestations", "contents"},
}
_OWN = "./"

every_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def read(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def steps_of(file: Path) -> Iterator[dict[str, Any]]:
    content = read(file)
    for job in content.get("jobs", {}).values():
        yield from job.get("steps", [])
    yield from content.get("runs", {}).get("steps", [])


@every_workflow
def test_a_workflow_has_no_rights_but_those_each_job_asks_for(file: Path) -> None:
    content = read(file)
    assert content["permissions"] == {}
    rights = [job["permissions"] for job in content["jobs"].values()]
    writing = {name for right in rights for name, level in right.items() if level == "write"}
    assert writing <= _WRITES.get(file.name, set())


@every_workflow
def test_a_job_ends_after_a_while(file: Path) -> None:
    for name, job in read(file)["jobs"].items():
        assert "uses" in job or 1 <= job["timeout-minutes"] <= 90, name


@every_workflow
def test_nothing_runs_with_rights_for_strangers(file: Path) -> None:
    content: dict[Any, Any] = read(file)
    triggers = content[True]  # YAML 1.1 takes the word "on" for true
    assert set(triggers) <= {"push", "pull_request", "workflow_call"}


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_scripts_take_values_through_the_environment_only(file: Path) -> None:
    for step in steps_of(file):
        assert "${{" not in step.get("run", ""), step


def test_every_action_is_pinned_by_commit_and_the_same_everywhere() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for file in [*WORKFLOWS, *ACTIONS]:
        for line in file.read_text().splitlines():
            if "uses:" in line and _OWN not in line:
                found = _PINNED.search(line)
                assert found, f"{file.name}: {line.strip()}"
                pins.setdefault(found[1], set()).add((found[2], found[3]))
    assert {name: len(commits) for name, commits in pins.items()} == dict.fromkeys(pins, 1)


def test_a_checkout_leaves_no_credentials_behind() -> None:
    checkouts = [step for file in WORKFLOWS for step in steps_of(file) if "checkout@" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_scanner_has_no_rights_and_no_secret() -> None:
    scan = read(ROOT / ".github/workflows/image.yml")["jobs"]["scan"]
    assert scan["permissions"] == {}
    assert "secrets." not in yaml.safe_dump(scan)


def test_production_gets_the_digests_that_staging_ran_and_only_with_approval() -> None:
    jobs = read(ROOT / ".github/workflows/deploy.yml")["jobs"]
    staging, production = (jobs[name]["steps"][-1]["with"] for name in ("staging", "production"))
    assert set(jobs["production"]["needs"]) == {"image", "staging"}
    assert (jobs["staging"]["environment"], jobs["production"]["environment"]) == ("staging", "production")
    assert [staging[name] for name in ("image", "model-server-image")] == [
        production[name] for name in ("image", "model-server-image")
    ]


def test_releases_and_images_are_built_without_caches() -> None:
    for name in ("image.yml", "release.yml"):
        text = (ROOT / ".github/workflows" / name).read_text()
        assert "actions/cache" not in text
        assert "cache-from" not in text
        assert "cache: pip" not in text


def test_every_test_target_runs_in_ci_with_what_it_needs() -> None:
    jobs = read(ROOT / ".github/workflows/ci.yml")["jobs"]
    called = {name: [step["run"].split()[1] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    targets = set(re.findall(r"^(test[a-z-]*|lint):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets == {name for names in called.values() for name in names if name.startswith(("test", "lint"))}
    assert called["test"][-3:] == ["tool-images", "minio", "test"]
    assert called["stack"] == ["stack-images", "test-tools", "test-edge", "test-stack"]


def test_what_the_workflows_call_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {name for file in WORKFLOWS for name in re.findall(r"(?:run: | {8,})make ([a-z-]+)", file.read_text())}
    assert called
    assert called <= targets


def _base_images(dockerfile: str) -> dict[str, str]:
    return dict(re.findall(r"^ARG ([A-Z]+)_IMAGE=(\S+)$", dockerfile, re.MULTILINE))


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/minio/Dockerfile"])
def test_every_image_that_ours_are_built_from_can_be_named_by_digest(file: str) -> None:
    text = (ROOT / file).read_text()
    stages = set(re.findall(r" AS (\S+)$", text, re.MULTILINE)) | {"scratch"}
    foreign = {name for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if name not in stages}
    assert foreign == {f"${{{name}_IMAGE}}" for name in _base_images(text)}
    assert re.search(r"^COPY --from=\S*[/:]", text, re.MULTILINE) is None, "no image is named in passing"


def test_published_images_are_built_from_bases_named_by_digest() -> None:
    jobs = read(ROOT / ".github/workflows/image.yml")["jobs"]
    builds = [step for step in jobs["build"]["steps"] if "build-push-action@" in step.get("uses", "")]
    wanted = {f"{name}_IMAGE": name.lower() for name in _base_images((ROOT / "Dockerfile").read_text())}
    wanted["BUILDKIT_SYNTAX"] = "syntax"
    for step in builds:
        given = dict(line.split("=", 1) for line in step["with"]["build-args"].splitlines())
        assert {given[name] for name in wanted} == {f"${{{{ needs.bases.outputs.{key} }}}}" for key in wanted.values()}
    assert builds
    assert jobs["build"]["needs"] == "bases"
    assert set(jobs["bases"]["outputs"]) == set(wanted.values())


@pytest.mark.parametrize(("said", "code"), [(f"sha256:{'0a' * 32}", 0), ("latest", 1), ("", 1)])
def test_a_base_without_a_digest_is_not_built_from(tmp_path: Path, said: str, code: int) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$*" = "${{*#buildx imagetools inspect }}" ] && exit 2\necho "{said}"\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = subprocess.run(
        [ROOT / "release/pin-images", ROOT / "Dockerfile"], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == code, found.stderr
    if code == 0:
        images = _base_images((ROOT / "Dockerfile").read_text())
        assert found.stdout.splitlines()[1:] == [f"{name.lower()}={image}@{said}" for name, image in images.items()]
        assert found.stdout.startswith("syntax=docker/dockerfile:1@sha256:")
