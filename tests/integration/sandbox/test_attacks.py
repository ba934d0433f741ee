"""A hostile model, in a worker's child and in a model server: it gets nowhere, and an honest one notices nothing."""

import asyncio
import json
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox import attacks
from tidemill.jobs.compute import ComputeChild, ComputeOrder, Confinement
from tidemill.jobs.lease import Lease, lease_clock
from tidemill.jobs.messages import Message
from tidemill.kit.errors import Invalid, Unavailable, Unsupported
from tidemill.kit.trees import remove_tree
from tidemill.model_server.runtimes.child import ChildRuntime, ModelBox, ModelOrder
from tidemill.sandbox.child import command, environment, policy_of
from tidemill.sandbox.confinement import Kernel
from tidemill.sandbox.policy import NOTHING, Limits, Reach
from tidemill.settings.model import SandboxSettings, WorkerSettings

ENTRIES = attacks.__name__
OLD = Kernel(landlock_abi=3, has_seccomp=True)
NEW = Kernel.probe()

pytestmark = pytest.mark.skipif(NEW.level != "full", reason="this kernel has no Landlock of ABI 6: Linux 6.12")

HARMLESS = {"send from a pair", "change the mode of a secret"}
"""Answered in another way than by an error; the test looks at what became of them."""


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a platform keeps beside a model, and servers that wait for somebody."""
    for name in ("TIDEMILL_DATABASE__URL", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "SECRET_OF_THE_OPERATOR"):
        monkeypatch.setenv(name, "hunter2")
    data = tmp_path / "data"
    places = ("keys/admin.key", "keys/serving.key", "model-server/ledger/1.wal", "model-server/models/other/MLmodel",
              "objects/bundles/other.tar", "scratch/worker-1/other/raw")  # fmt: skip
    for place in places:
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        (data / place).write_text("hunter2")
        (data / place).chmod(0o600)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        unix.bind(str(data / "s"))
        unix.listen()
        datagrams.bind(str(data / "d"))
        datagrams.setblocking(False)
        yield {
            "secrets": [str(data / place) for place in places],
            "folders": sorted({str((data / place).parent) for place in places}),
            "port": tcp.getsockname()[1],
            "socket": str(data / "s"),
            "datagrams": str(data / "d"),
        }
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)
    for place in places:
        assert ((data / place).stat().st_mode & 0o777, (data / place).read_text()) == (0o600, "hunter2")


async def compute(
    folder: Path, entry: str, request: dict[str, Any], kernel: Kernel = NEW, allowed: bool = False,
    reach: Reach = NOTHING, **limits: int,
) -> dict[str, Any]:  # fmt: skip
    async def ignore(_message: Message) -> None: ...

    directory = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    settings = WorkerSettings.model_validate({"disk_limit_bytes": 32 << 20, **limits})
    order = ComputeOrder(f"{ENTRIES}:{entry}", request, None, directory, reach)
    confinement = Confinement(kernel, SandboxSettings(allow_unconfined=allowed))
    return await ComputeChild(order, settings, Lease(3600, lease_clock()), ignore, confinement).run()


def check(outcomes: dict[str, str]) -> None:
    done = {name for name, outcome in outcomes.items() if outcome == attacks.DONE}
    assert done <= HARMLESS, sorted(done - HARMLESS)
    assert len(outcomes) > 50


async def test_foreign_code_in_a_worker_reaches_nothing(targets: dict[str, Any], tmp_path: Path) -> None:
    check(await compute(tmp_path, "attack", targets, reach=Reach(foreign=True)))


def test_a_child_keeps_no_descriptor_but_its_own_whatever_was_left_open(tmp_path: Path) -> None:
    """A lock of the platform, say, that some library's way of starting processes hands on."""
    with (tmp_path / "lock").open("a") as lock:
        channel, said = run_confined("tests.integration.sandbox.descriptors", tmp_path, lock.fileno())
    assert said == ["0", "1", "2", str(channel)]


def test_a_child_that_tries_to_start_a_process_has_no_library_prepare_for_a_fork(tmp_path: Path) -> None:
    """OpenBLAS would stop the threads that others wait for."""
    assert run_confined("tests.integration.sandbox.forks", tmp_path)[1] == [*["refused"] * 7, "0"]


def run_confined(module: str, folder: Path, *left_open: int) -> tuple[int, list[str]]:
    """The descriptor of its channel, and the words that it printed."""
    policy = policy_of(module, NOTHING, (folder,), Limits.of_memory(2**30, 2**20), strict=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            command(policy, module, theirs.fileno()), pass_fds=(theirs.fileno(), *left_open), check=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, text=True, env=environment(folder, 1, False),
        )  # fmt: skip
        return theirs.fileno(), done.stdout.split()


async def test_what_honest_code_does_works_in_the_sandbox(targets: dict[str, Any], tmp_path: Path) -> None:
    assert await compute(tmp_path, "honest", targets) == {"text": "text", "threads": [1], "socket": "x"}


FILLING = {
    "fill_with_files": {"disk_limit_exceeded"},
    "fill_deleted": {"disk_limit_exceeded"},
    "fill_mapped": {"disk_limit_exceeded", "files_hidden"},  # only the superuser is told the size of a mapped file
    "fill_deep": {"files_hidden"},
    "fill_without_a_first_thread": {"disk_limit_exceeded"},
    "take_memory_without_a_first_thread": {"memory_limit_exceeded"},
    "start_many_threads": {"threads_limit_exceeded"},
}


@pytest.mark.parametrize("entry", FILLING)
async def test_a_child_that_takes_too_much_is_ended_however_it_hides_that(entry: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as ended:
        await compute(tmp_path, entry, {}, memory_limit_bytes=2**29)
    assert ended.value.code in FILLING[entry]
    assert remove_tree(tmp_path)


async def test_a_child_with_addresses_connects_to_these_and_to_no_other(
    targets: dict[str, Any], tmp_path: Path
) -> None:
    reach = Reach(addresses=(f"http://127.0.0.1:{targets['port']}",))
    outcomes = await compute(tmp_path, "attack", targets, reach=reach)
    assert outcomes.pop("connect by TCP") == attacks.DONE
    assert outcomes.pop("own environment") == attacks.DONE  # PostgreSQL's variables may be part of its address
    check(outcomes)
    other = await compute(tmp_path / "data", "attack", targets, reach=Reach(addresses=("http://127.0.0.1:9",)))
    assert other["connect by TCP"] == "PermissionError"


async def test_foreign_code_is_refused_where_it_cannot_be_confined_unless_that_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="allow-unconfined") as refused:
        await compute(tmp_path, "honest", {}, OLD, reach=Reach(foreign=True))
    assert refused.value.code == "sandbox_unavailable"
    answer = await compute(tmp_path, "honest", {}, OLD, allowed=True, reach=Reach(foreign=True))
    assert answer["text"] == "text"
    box = ModelBox(kernel=OLD)
    with pytest.raises(Unsupported):
        await ChildRuntime.load(ModelOrder(tmp_path, "pyfunc", {}, 20, runs_code=True, box=box))


NO_MESSAGES = (
    "nonsense", "[]", "{}", '{"type": "progress"}', '{"type": "result", "result": 7}', '{"type": "error", "error": {}}',
    '{"type": "log", "level": 1, "message": []}', r'{"type": "result", "result": {"a": "\u0000"}}',
    '{"type": "error", "error": {"kind": "Unavailable", "code": "object_store_refuses", "detail": "", "problems": []}}',
)  # fmt: skip


@pytest.mark.parametrize("line", NO_MESSAGES)
async def test_what_is_no_message_ends_the_job_with_an_error_of_its_own(line: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as ended:
        await compute(tmp_path, "speak_nonsense", {"line": line})
    assert ended.value.code == "compute_message_malformed"


async def test_a_message_of_more_values_than_any_of_ours_is_not_made_into_objects(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as ended:
        await compute(tmp_path, "speak_nonsense", {"line": "[],", "times": 1_100_000})
    assert ended.value.code == "compute_message_too_large"


MLMODEL = """flavors:
  python_function:
    loader_module: hostile_model
    code: code
    python_version: 3.13.0
"""
MODEL = """
import json, pathlib, signal

class Hostile:
    def __init__(self, targets):
        self.targets = targets
        self.at_loading = attack(targets)

    def predict(self, frame, params=None):
        if frame["x"][0] == 2:
            hang_up()
        if frame["x"][0] == 3:
            answer_ahead()
            return ["honest"] * len(frame)
        if frame["x"][0] == 4:
            os.kill(os.getpid(), signal.SIGSTOP)
        if frame["x"][0] == 5:
            os.write(int(sys.argv[1]), bytes([0, 0, 0, 99]) + b"{")
            threading.Event().wait()
        if frame["x"][0] == 6:
            ctypes.string_at(0)
        found = attack(self.targets) if frame["x"][0] else self.at_loading
        return [json.dumps(found)] * len(frame)

def _load_pyfunc(path):
    return Hostile(json.loads((pathlib.Path(__file__).parent / "targets.json").read_text()))
"""


@pytest.fixture
async def hostile(targets: dict[str, Any], tmp_path: Path) -> AsyncIterator[ChildRuntime]:
    directory = tmp_path / "data/model-server/models/hostile"
    (directory / "code").mkdir(parents=True)
    (directory / "MLmodel").write_text(MLMODEL)
    (directory / "code/targets.json").write_text(json.dumps(targets))
    (directory / "code/hostile_model.py").write_text(Path(attacks.__file__).read_text() + MODEL)
    targets["folders"].append(str(directory))
    temporary = tmp_path / "data/model-server/temporary"
    temporary.mkdir()
    box = ModelBox(disk_bytes=32 << 20, temporary=temporary)
    runtime = await ChildRuntime.load(ModelOrder(directory, "pyfunc", {"x": "double"}, 60, runs_code=True, box=box))
    yield runtime
    await runtime.close()
    assert not list(temporary.iterdir())


async def test_a_hostile_model_in_a_model_server_reaches_nothing_while_loading_or_predicting(
    hostile: ChildRuntime,
) -> None:
    for value in (0.0, 1.0):
        check(json.loads((await hostile.predict({"x": [value]}, None)).prediction[0]))


async def test_a_model_that_hangs_up_and_runs_on_is_replaced_even_after_its_server_could_not_start_another(
    hostile: ChildRuntime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    temporary, away = tmp_path / "data/model-server/temporary", tmp_path / "away"
    first = hostile.process_id
    asked = asyncio.create_task(hostile.predict({"x": [2.0]}, None))
    temporary.rename(away)
    with pytest.raises(Unavailable) as ended:
        await asked
    assert ended.value.code == "model_process_died"
    async with asyncio.timeout(20):
        while "cannot be replaced yet" not in caplog.text:
            await asyncio.sleep(0.02)
    assert not Path(f"/proc/{first}").exists()
    for folder in away.iterdir():  # that of the first process, which did not find it
        remove_tree(folder)
    away.rename(temporary)
    assert len((await hostile.predict({"x": [0.0]}, None)).prediction) == 1
    assert hostile.process_id != first


FAILING = {4.0: "predict_timeout", 5.0: "predict_timeout", 6.0: "model_process_died"}
"""Stopped by its own signal, silent in the middle of an answer, ended by the kernel."""


async def test_a_model_that_stops_or_hangs_or_crashes_is_told_in_time_and_replaced(hostile: ChildRuntime) -> None:
    patient = hostile._order
    for value, code in FAILING.items():
        first, hostile._order = hostile.process_id, replace(patient, timeout_seconds=1)
        with pytest.raises(Unavailable) as ended:
            await hostile.predict({"x": [value]}, None)
        assert ended.value.code == code
        assert not Path(f"/proc/{first}").exists()
        hostile._order = patient
        assert len((await hostile.predict({"x": [0.0]}, None)).prediction) == 1


async def test_a_model_that_answers_what_it_was_not_asked_is_replaced(hostile: ChildRuntime) -> None:
    first = hostile.process_id
    with pytest.raises(Unavailable) as ended:
        await hostile.predict({"x": [3.0]}, None)
    assert ended.value.code == "model_process_died"
    assert json.loads((await hostile.predict({"x": [0.0]}, None)).prediction[0])
    assert hostile.process_id != first


async def test_the_process_of_a_model_ends_with_its_server_and_leaves_nothing(hostile: ChildRuntime) -> None:
    process_id = hostile.process_id
    assert process_id is not None
    assert Path(f"/proc/{process_id}/environ").read_bytes().count(b"hunter2") == 0
    assert Path(f"/proc/{process_id}/oom_score_adj").read_text() == "1000\n"
    await hostile.close()
    assert not Path(f"/proc/{process_id}").exists()
