"""A release is rolled out whole, or the one before runs again."""

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from tests.deploy.conftest import ROOT, Host, compose_file, image


def remembered(host: Host) -> str:
    return str(json.loads((host.root / "deploy/releases/staging.json").read_text())["current"]["image"])


@pytest.fixture
def first(host: Host) -> str:
    """A release that runs; its revision."""
    revision = host.git("rev-parse", "HEAD")
    done = host.rollout("a", revision)
    assert done.returncode == 0, done.stdout + done.stderr
    return revision


def test_a_release_is_pulled_migrated_started_and_looked_at_in_this_order(host: Host, first: str) -> None:
    assert host.calls() == ["pull a", "pull a", "run a", "up a"]
    assert remembered(host) == image("a")
    second = host.commit("deploy/docs.md", "new")
    done = host.rollout("b", second, "--model-server-image", image("c"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.calls() == ["pull b", "pull c", "run b", "up b"]
    assert (remembered(host), host.git("rev-parse", "HEAD")) == (image("b"), second)
    assert "ok: nothing is told without a key" in done.stdout
    assert f"Before: {'a' * 12} of {first[:12]}" in done.stdout


def test_a_release_that_does_not_answer_gives_way_to_the_one_before(host: Host, first: str) -> None:
    second = host.commit("deploy/nginx/nginx.conf", "new")
    host.calls()
    host.tell("sick", image("b"))
    done = host.rollout("b", second)
    assert done.returncode == 3
    assert host.calls() == ["pull b", "pull b", "run b", "up b", "up b nginx", "up a", "up a nginx"]
    assert (host.running, remembered(host), host.git("rev-parse", "HEAD")) == (image("a"), image("a"), first)
    assert "503 instead of 200" in done.stderr
    assert f"staging runs {'a' * 12} of {first[:12]} again" in done.stdout


OLD = "1a a Up 3 days (healthy)\n2a a Up 3 days (healthy)\n"


def test_model_servers_hand_over_and_sick_ones_go_first(host: Host, first: str) -> None:
    host.calls()
    host.tell("servers", OLD + "3a a Restarting\n1b b Up 1 second (healthy)\n2b b Up 1 second (healthy)\n")
    assert host.rollout("b", first).returncode == 0
    steps = ["rm --force 3a", "up b", "up b model-server=4", "stop 1a 2a", "rm 1a 2a", "up b"]
    assert host.calls() == ["pull b", "pull b", "run b", *steps]


@pytest.mark.parametrize("broken", ["--scale", ""], ids=["not started", "not healthy"])
def test_old_model_servers_stay_until_new_ones_are_ready(host: Host, first: str, broken: str) -> None:
    host.calls()
    host.tell("servers", OLD + "1b b Up 1 second (healthy)\n2b b Restarting\n")
    host.tell("broken", f"{broken} {image('b')}" if broken else "")
    assert host.rollout("b", first).returncode == 3
    calls = host.calls()
    assert calls[:5] == ["pull b", "pull b", "run b", "up b", "up b model-server=4"]
    assert "stop 1a 2a" not in calls


@pytest.mark.parametrize(
    ("file", "service"),
    [
        ("deploy/nginx/nginx.conf", " nginx"),
        ("deploy/alloy/docker-logs.conf", " docker-logs"),
        ("deploy/postgres/start", " postgres"),
        ("deploy/nginx/unused.conf", ""),
    ],
)
def test_what_is_given_a_file_that_changed_is_made_anew(host: Host, first: str, file: str, service: str) -> None:
    assert first
    host.calls()
    assert host.rollout("b", host.commit(file, "new")).returncode == 0
    assert host.calls()[3:] == ["up b", f"up b{service}"][: 2 if service else 1]


def test_a_release_that_does_not_start_gives_way_to_the_one_before(host: Host, first: str) -> None:
    host.tell("broken", f"up {image('b')}")
    done = host.rollout("b", host.commit("new", "new"))
    assert (done.returncode, host.running, remembered(host)) == (3, image("a"), image("a"))
    assert host.git("rev-parse", "HEAD") == first


def test_a_release_that_needs_a_secret_which_is_missing_is_refused_until_the_named_command_made_it(
    host: Host, first: str
) -> None:
    shutil.copy(ROOT / "deploy/init", host.root.parent / "origin/deploy/init")
    second = host.commit("deploy/compose.yaml", compose_file("admin_key", "mlflow_token", "tls_key"))
    secrets = host.root / "deploy/secrets/staging"
    (secrets / "mlflow_token").mkdir()  # as Docker leaves it after an attempt by hand
    before = {file.name: file.read_bytes() for file in secrets.iterdir() if file.is_file()}
    host.calls()
    done = host.rollout("b", second)
    assert (done.returncode, "lacks mlflow_token" in done.stdout, host.calls()) == (1, True, []), done.stdout
    assert (host.running, host.git("rev-parse", "HEAD")) == (image("a"), first)
    command = next(line for line in done.stdout.splitlines() if "git show" in line).partition("nothing else: ")[2]
    command = command.removesuffix(". Nothing was changed.")
    told = host.run("sh", "-c", command)
    assert (told.returncode, "is a folder" in told.stderr) == (1, True), told.stdout + told.stderr
    (secrets / "mlflow_token").rmdir()
    made = host.run("sh", "-c", command)
    assert made.returncode == 0, made.stderr
    assert {name: (secrets / name).read_bytes() for name in before} == before
    assert host.rollout("b", second).returncode == 0


@pytest.mark.parametrize("step", ["pull", "run"])
def test_what_fails_before_the_start_leaves_what_runs_alone(host: Host, first: str, step: str) -> None:
    second = host.commit("new", "new")
    host.calls()
    host.tell("broken", f"{step} {image('b')}")
    done = host.rollout("b", second)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stdout
    assert not any(call.startswith("up") for call in host.calls())
    assert (remembered(host), host.git("rev-parse", "HEAD")) == (image("a"), first)


def test_a_return_that_fails_too_calls_for_a_person(host: Host, first: str) -> None:
    assert first
    host.tell("sick", f"{image('a')} {image('b')}")
    done = host.rollout("b", host.commit("new", "new"))
    assert done.returncode == 4
    assert "a person is needed" in done.stdout
    assert remembered(host) == image("a")


def test_a_first_release_that_fails_has_none_to_return_to(host: Host) -> None:
    host.tell("sick", image("a"))
    done = host.rollout("a", host.git("rev-parse", "HEAD"))
    assert done.returncode == 4
    assert not (host.root / "deploy/releases/staging.json").exists()


def test_another_machine_is_reached_by_ssh_and_its_exit_code_comes_back(host: Host, first: str, tmp_path: Path) -> None:
    assert first
    second = host.commit("new", "new")
    place = f"deployer@host.test:{host.root}"
    elsewhere = host.rollout("b", second, "--on", place)
    assert (elsewhere.returncode, remembered(host)) == (0, image("b")), elsewhere.stdout + elsewhere.stderr
    assert (host.stack / "hosts").read_text() == "deployer@host.test\n"
    host.tell("sick", image("c"))
    assert host.rollout("c", second, "--on", place).returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["staging", "--image", "registry.test/team/tidemill:1.0"],
        ["staging", "--image", image("a") + ";reboot"],
        ["../staging", "--image", image("a")],
        ["staging", "--image", image("a"), "--revision", "main"],
        ["staging", "--image", image("a"), "--on", "host:/x; reboot"],
        ["staging", "--image", image("a"), "--on", "-oProxyCommand=reboot:/x"],
    ],
    ids=["a tag", "a command", "a path", "a branch", "a command there", "an option of ssh"],
)
def test_what_is_no_digest_revision_or_place_is_refused(host: Host, arguments: list[str]) -> None:
    done = host.run("python3", str(host.root / "deploy/rollout"), *arguments)
    assert done.returncode == 2
    assert "reboot" not in done.stderr.replace("usage", "")
    assert host.calls() == []


def test_only_one_rollout_runs_at_a_time(host: Host, first: str) -> None:
    with (host.root / "deploy/releases/staging.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = host.rollout("b", first)
    assert (done.returncode, "under way" in done.stdout) == (1, True)


def test_files_changed_by_hand_are_not_thrown_away(host: Host, first: str) -> None:
    assert first
    (host.root / "deploy/compose.yaml").write_text("by hand")
    done = host.rollout("b", host.commit("new", "new"))
    assert (done.returncode, "by hand" in done.stdout) == (1, True), done.stdout
    assert host.running == image("a")
    assert (host.root / "deploy/compose.yaml").read_text() == "by hand"


def test_settings_of_the_host_in_the_env_file_survive_a_rollout(host: Host, first: str) -> None:
    assert first
    env_file = host.root / "deploy/staging.env"
    own = env_file.read_text() + "TIDEMILL_WORKER_REPLICAS=3\n"
    env_file.write_text(own)
    second = host.commit("new", "new")
    assert host.rollout("b", second).returncode == 0
    assert (host.running, host.git("rev-parse", "HEAD"), env_file.read_text()) == (image("b"), second, own)
    clashing = host.commit("deploy/staging.env", "TIDEMILL_SECRETS=./elsewhere\n")
    done = host.rollout("c", clashing)
    assert (done.returncode, "deploy/staging.env" in done.stderr) == (1, True), done.stdout + done.stderr
    assert (host.running, host.git("rev-parse", "HEAD"), env_file.read_text()) == (image("b"), second, own)


def test_commands_given_by_hand_find_the_images_that_run(host: Host, first: str) -> None:
    names = host.root / "deploy/releases/staging.env"
    assert names.read_text() == f"TIDEMILL_IMAGE={image('a')}\nTIDEMILL_MODEL_SERVER_IMAGE={image('a')}\n"
    host.tell("sick", image("b"))
    assert host.rollout("b", first).returncode == 3
    assert image("a") in names.read_text()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "[::]"])
def test_the_stack_is_looked_at_where_nginx_is_published(host: Host, address: str) -> None:
    host.tell("address", address)
    done = host.rollout("a", host.git("rev-parse", "HEAD"), "--smoke-timeout", "1")
    looked = json.loads((host.stack / "calls").read_text().splitlines()[-1])
    assert looked["arguments"][:2] == ["compose", "port"]
    assert (done.returncode == 0) == (address != "[::]"), done.stdout + done.stderr  # nothing listens on ::1 here


def test_a_damaged_memory_of_what_runs_is_told_and_nothing_is_touched(host: Host, first: str) -> None:
    (host.root / "deploy/releases/staging.json").write_text("{")
    done = host.rollout("b", first)
    assert (done.returncode, "cannot be read" in done.stdout) == (1, True)


def smoke(host: Host, *more: str) -> tuple[int, str]:
    secrets = host.root / "deploy/secrets/staging"
    done = host.run(
        str(host.root / "deploy/smoke"), f"https://tidemill.test:{host.port}", "--connect", f"127.0.0.1:{host.port}",
        "--key-file", str(secrets / "admin_key"), "--timeout", "0", *more,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_smoke_test_trusts_no_unknown_certificate(host: Host) -> None:
    trusted = ("--authority", str(host.root / "deploy/secrets/staging/tls_certificate"))
    assert smoke(host, *trusted)[0] == 0
    code, output = smoke(host)
    assert (code, "SSLCertVerificationError" in output) == (1, True), output


def test_the_smoke_test_waits_for_deployments_and_only_notes_what_their_owners_broke(host: Host) -> None:
    trusted = ("--authority", str(host.root / "deploy/secrets/staging/tls_certificate"))
    host.tell("deployments", '{"wealth": "failed"}')
    code, output = smoke(host, *trusted)
    assert (code, "wealth is failed" in output) == (0, True)
    host.tell("deployments", '{"wealth": "loading"}')
    code, output = smoke(host, *trusted)
    assert (code, "deployments have settled (wealth is loading)" in output) == (1, True)


def test_the_smoke_test_never_shows_the_key(host: Host) -> None:
    (host.root / "deploy/secrets/staging/admin_key").write_text("tm_staging_wrong")
    code, output = smoke(host, "--authority", str(host.root / "deploy/secrets/staging/tls_certificate"))
    assert (code, "401 instead of 200" in output, "tm_staging" in output) == (1, True, False)
