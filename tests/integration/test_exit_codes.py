"""Exit codes that scripts and supervisors can trust, of every kind of command and of the processes themselves."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import LiveApi, RunCli
from tests.ports import free_port
from tidemill.cli.main import main
from tidemill.kit import errors
from tidemill.kit.errors import TidemillError
from tidemill.kit.exit_codes import exit_code_of
from tidemill.settings.model import DatabaseSettings

RunHere = Callable[[str], tuple[int, str, str]]
RunWords = Callable[[list[str]], tuple[int, str, str]]
Capture = pytest.CaptureFixture[str]

USAGE = [
    "nonsense",
    "dataset push",
    "job list --limit 0",
    "job list --status broken",
    "train submit people --target y --task guess",
    "train submit people --target y --time-budget soon",
    "train submit people --target y --timeout never",
    "monitor report wealth --since yesterdayish",
    "prediction list wealth --since yesterdayish",
    "model history people --at yesterdayish",
    "model show people@@champion",
    "model promote people --version 1 --force",
    "model register people",
    "model register people --run-id x --dataset people",
    "key create ci --scope predict --expires-in never",
    "key create ci --scope predict --expires-in 9999999d",
    "prediction list wealth --since 999999d",
    "monitor report wealth --since 999999d",
    "model history people --at 0001-01-01T00:00:00+23:00",
    "train submit people --target y --timeout 31d",
    "dataset push rows.csv --name people --timeout soon",
    "job wait job_absent --timeout soon",
    "deploy apply wealth --model people --wait --timeout soon",
    "predict wealth",
    "predict wealth --json nonsense",
    "predict wealth --json 3",
    "dataset push rows.csv --name people --type age",
    "dataset push rows.csv --name people --decimal x",
    "feedback push wealth rows.csv --id-column=",
]
OTHER_PROCESSES = ["up --no-such-option", "up --api-port 70000", "admin create-key ci --scope everything"]
NOT_FOUND = [
    "dataset show people",
    "dataset push absent.csv --name people",
    "train show run_absent",
    "train submit people --target y",
    "train leaderboard people",
    "model show people",
    "model show people:3",
    "model rollback people",
    "deploy show wealth",
    "deploy delete wealth --yes",
    "predict wealth rows.csv",
    "predict wealth absent.csv",
    "prediction show prd_absent",
    "job show job_absent",
    "job logs job_absent",
    "job logs --follow job_absent",
    "job wait job_absent",
    "job cancel job_absent",
    "key revoke key_absent",
    "monitor show rep_absent",
    "feedback push wealth absent.csv",
]
LISTS = ["dataset list", "train list", "model list", "deploy list", "job list", "key list", "monitor list"]


@pytest.fixture
def run_words(live_api: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> RunWords:
    """As `run_cli`, but in this process, since these are many."""
    (tmp_path / "rows.csv").write_text("age\n3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_URL", live_api.url)
    monkeypatch.setenv("TIDEMILL_API_KEY", live_api.key)

    def run(words: list[str]) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidemill", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def run_here(run_words: RunWords) -> RunHere:
    return lambda command: run_words(command.split())


def says_why_on_stderr(command: str, found: tuple[int, str, str], expected: int) -> None:
    code, out, err = found
    assert (command, code, out) == (command, expected, ""), err
    assert err.strip(), command
    assert "Traceback" not in err, command


def test_what_is_mistyped_ends_with_2(run_here: RunHere) -> None:
    for command in USAGE:
        says_why_on_stderr(command, run_here(command), 2)


def test_what_is_no_part_of_a_path_names_nothing(run_here: RunHere) -> None:
    for name in ("people/versions/1", "..", ".", "a/b:cancel"):
        for command in ("job show", "model show", "deploy show", "monitor show", "prediction show", "train show"):
            code, out, err = run_here(f"{command} {name}")
            assert (code in (2, 4), out) == (True, ""), (command, name, err)
            assert "Traceback" not in err


async def test_an_output_that_cannot_be_written_is_told_in_a_sentence(live_api: LiveApi) -> None:
    environment = os.environ | {"TIDEMILL_URL": live_api.url, "TIDEMILL_API_KEY": live_api.key}
    for redirected, command, code in (
        (">/dev/full", "version", 1), (">/dev/full", "-o json key list", 1), ("2>/dev/full", "job show job_absent", 4),
        (">&-", "version", 0), ("2>&-", "job show job_absent", 4),
    ):  # fmt: skip
        words = f'exec "{sys.executable}" -m tidemill.cli.main {command} {redirected}'
        process = await asyncio.create_subprocess_shell(
            words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == code, (redirected, command, err)
        assert b"Traceback" not in err
        assert b"Exception ignored" not in err
        assert (b"file_unusable" in err) == (redirected == ">/dev/full")


@pytest.mark.parametrize("name", ["a\udcff", "x" * 5000, "a b", "%00", "NaN", "\u0663"])
def test_odd_bytes_of_an_argument_are_no_traceback(run_words: RunWords, name: str) -> None:
    for words in (
        ["job", "show", name], ["job", "logs", name, "--follow"], ["job", "list", "--kind", name],
        ["model", "show", name], ["model", "rollback", name], ["deploy", "apply", "d", "--model", name],
        ["predict", "d", "--json", name], ["prediction", "list", name], ["key", "create", name, "--scope", "predict"],
        ["train", "submit", name, "--target", "y"], ["feedback", "push", "d", name], ["dataset", "show", name],
        ["monitor", "report", name, "--since", name],
    ):  # fmt: skip
        code, _, err = run_words(words)
        assert code in (0, 1, 2, 4, 5), (words, err)
        assert "Traceback" not in err
        assert "internal" not in err


def test_what_does_not_exist_ends_with_4(run_here: RunHere) -> None:
    for command in NOT_FOUND:
        says_why_on_stderr(command, run_here(command), 4)


async def test_what_is_mistyped_for_another_process_ends_with_2(run_cli: RunCli) -> None:
    for command in OTHER_PROCESSES:
        says_why_on_stderr(command, await run_cli(*command.split()), 2)


@pytest.mark.parametrize(
    ("command", "variable", "code", "words"),
    [
        ("model-server", ("TIDEMILL_LOG_LEVEL", "error"), 1, "needs a key"),
        ("api", ("TIDEMILL_OBJECT_STORE__URL", "ftp://nowhere"), 1, "store"),
        ("worker", ("TIDEMILL_WORKER__CONCURENCY", "3"), 2, "TIDEMILL_WORKER__CONCURENCY"),
        ("up", ("TIDEMILL_ENVIRONMENT", "Not a name"), 2, "TIDEMILL_ENVIRONMENT"),
    ],
)
async def test_a_process_that_cannot_start_says_why(
    run_cli: RunCli, command: str, variable: tuple[str, str], code: int, words: str
) -> None:
    found = await run_cli(command, environment=dict([variable]))
    says_why_on_stderr(command, found, code)
    assert words in found[2]


def test_every_list_is_json_on_stdout_when_asked_for(run_here: RunHere) -> None:
    for command in LISTS:
        code, out, err = run_here(f"--output json {command}")
        assert code == 0, (command, err)
        assert isinstance(json.loads(out), list), command
    code, out, _ = run_here("-o json version")
    assert (code, set(json.loads(out))) == (0, {"version"})


async def test_waiting_no_longer_than_asked_ends_with_124(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("age\n3\n")
    code, _, err = await run_cli("dataset", "push", "rows.csv", "--name", "people", "--timeout", "1s")
    assert code == 124, err
    assert "goes on" in err


async def test_a_server_that_is_not_tidemill_is_a_failure_not_a_traceback(run_cli: RunCli) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"<html>" if b"/keys" in head else b"[]"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for command, words in ((["key", "list"], "answer_not_json"), (["job", "show", "job_1"], "answer_unexpected")):
            code, out, err = await run_cli(*command, environment={"TIDEMILL_URL": url})
            assert (code, out) == (1, ""), err
            assert words in err
            assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Refused("x", "x"), 3),
        (errors.NotFound("x", "x"), 4),
        (errors.Conflict("x", "x"), 5),
        (errors.PreconditionFailed("x", "x"), 5),
        (errors.DeadlineExceeded("x", "x"), 124),
        (errors.Unavailable("x", "x"), 1),
        (errors.Invalid("duration_invalid", "x"), 2),
        (errors.Invalid("setting_invalid", "x"), 2),
        (errors.Invalid("x", "x"), 1),
        (TidemillError("x", "x"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: TidemillError, code: int) -> None:
    assert exit_code_of(error) == code


async def until_alive(process: asyncio.subprocess.Process, url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while process.returncode is None:
            try:
                if (await http.get(url)).status_code < 500:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError("the process ended")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("name", ["api", "model_server", "worker"])
async def test_a_process_that_is_asked_to_stop_exits_with_0(
    name: str, stop: signal.Signals, database: DatabaseSettings, tmp_path: Path
) -> None:
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    environment = inherited | {
        "TIDEMILL_DATABASE__URL": database.url.get_secret_value(),
        "TIDEMILL_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
        "TIDEMILL_MODEL_SERVER__KEY": "tm_test_absent",
        "TIDEMILL_MODEL_SERVER__STATE_DIR": str(tmp_path / "state"),
        "TIDEMILL_MODEL_SERVER__API_URL": "http://127.0.0.1:9",
        f"TIDEMILL_{name.upper()}__PORT": str(port),
    }
    command = [sys.executable, "-m", f"tidemill.{name}"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    await until_alive(process, f"http://127.0.0.1:{port}/livez")
    process.send_signal(stop)
    assert await asyncio.wait_for(process.wait(), 30) == 0
