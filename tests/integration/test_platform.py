"""What `tidemill up` sees to before anything starts: earlier processes are gone, ports are free."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tidemill.kit.errors import Conflict, Invalid
from tidemill.platform.layout import Layout
from tidemill.platform.leftovers import alone
from tidemill.platform.ports import Ports, claim_ports, is_loopback
from tidemill.platform.specs import (
    Addresses,
    Site,
    all_specs,
    environment_of,
    model_server_waits_for_disk,
    store_is_away,
)
from tidemill.web.app import WebConfig, create_web_app
from tidemill.web.metrics import create_registry

_STUBBORN = "import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint('on', flush=True); time.sleep(60)"
_SHORT = "import sys\nprint('on', flush=True); sys.stdin.read()"


def _inherit(descriptor: int, program: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", program], pass_fds=(descriptor,), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    return process


async def test_a_start_waits_until_the_processes_of_the_one_before_have_ended(tmp_path: Path) -> None:
    file = tmp_path / "processes.lock"
    async with alone(file, lambda: pytest.fail("there is nothing to wait for")) as descriptor:
        process = _inherit(descriptor, _SHORT)
    with process:
        waited: list[bool] = []

        def end() -> None:
            waited.append(process.poll() is None)
            assert process.stdin is not None
            process.stdin.close()

        async with alone(file, end):
            assert process.wait(60) == 0
    assert waited == [True]


async def test_a_process_that_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "processes.lock"
    async with alone(file) as descriptor:
        process = _inherit(descriptor, _STUBBORN)
    with process:
        process.terminate()
        began = time.monotonic()
        async with alone(file, patience_seconds=0.3):
            assert time.monotonic() - began > 0.3
        assert process.wait(60) == -signal.SIGKILL


def test_a_busy_port_and_a_foreign_address_are_told_apart() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Conflict, match="--worker-port"):
            claim_ports(Ports(0, 0, port, 0), "127.0.0.1")
    with pytest.raises(Invalid, match="--host"):
        claim_ports(Ports(0, 0, 0, 0), "203.0.113.1")


def test_addresses_of_ipv6_are_written_in_brackets() -> None:
    assert Addresses.of(Ports(1, 2, 3, 4), "::1").mlflow == "http://[::1]:4"


async def test_what_needs_no_key_is_for_this_machine_whatever_the_host(tmp_path: Path) -> None:
    ports, host = Ports(1, 2, 3, 4), "0.0.0.0"
    async with httpx.AsyncClient() as http:
        site = Site(Layout(tmp_path), ports, host, Addresses.of(ports, host), http)
        environment = environment_of(site)
        specs = {spec.name: spec.environment for spec in all_specs(site, environment)}
    assert site.addresses.worker == "http://127.0.0.1:3"
    assert environment["TIDEMILL_WORKER__HOST"] == "127.0.0.1"
    assert environment["TIDEMILL_OBSERVABILITY__METRICS_TO"] == "this_machine"
    told = {name for name, given in specs.items() if "TIDEMILL_MLFLOW__TOKEN_FILE" in given}
    assert told == {"api", "worker", "mlflow"}, "a model server, which runs models of others, has no token"


@pytest.mark.parametrize(
    ("host", "closed"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.7", False), ("example.org", False)],
)  # fmt: skip
def test_it_is_known_which_addresses_others_reach(host: str, closed: bool) -> None:
    assert is_loopback(host) is closed


@pytest.mark.parametrize(
    ("checks", "starts", "says"),
    [
        ({"database": True, "object_store": True}, True, False),
        ({"database": True, "object_store": False}, True, True),
        ({"database": False, "object_store": False}, False, False),
        ({"database": False, "object_store": True}, False, False),
        (None, False, False),
    ],
)
async def test_a_store_that_is_away_keeps_nothing_from_starting_and_is_said(
    tmp_path: Path, checks: dict[str, bool] | None, starts: bool, says: bool
) -> None:
    async with _site(tmp_path, checks) as site:
        ready = {spec.name: spec.ready for spec in all_specs(site, {})}
        assert [await ready[name]() for name in ("api", "worker")] == [starts, starts]
        assert await store_is_away(site) == says


@pytest.mark.parametrize(
    ("checks", "starts", "says"),
    [
        ({"snapshot": True, "models": True, "disk": True}, True, False),
        ({"snapshot": True, "models": True, "disk": False}, True, True),
        ({"snapshot": True, "models": False, "disk": False}, True, True),
        ({"snapshot": True, "models": False, "disk": True}, False, False),  # which is on its way
        ({"snapshot": False, "models": False, "disk": False}, False, False),
    ],
)
async def test_a_model_server_whose_disk_is_full_keeps_nothing_from_starting_and_is_said(
    tmp_path: Path, checks: dict[str, bool], starts: bool, says: bool
) -> None:
    async with _site(tmp_path, checks) as site:
        ready = {spec.name: spec.ready for spec in all_specs(site, {})}
        assert await ready["model-server"]() == starts
        assert await model_server_waits_for_disk(site) == says


@contextlib.asynccontextmanager
async def _site(folder: Path, checks: dict[str, bool] | None) -> AsyncIterator[Site]:
    """Every process of it answers ``/readyz`` with these checks; None: with a failure."""

    async def passes(name: str) -> bool:
        assert checks is not None
        return checks[name]

    config = WebConfig(
        "api", create_registry(), 1 << 16, checks={name: partial(passes, name) for name in checks or {"database": True}}
    )
    transport = httpx.ASGITransport(create_web_app(config, ()), raise_app_exceptions=False)
    ports = Ports(1, 2, 3, 4)
    async with httpx.AsyncClient(transport=transport) as http:
        yield Site(Layout(folder), ports, "127.0.0.1", Addresses.of(ports, "127.0.0.1"), http)
