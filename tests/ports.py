"""Ports for the servers that tests start."""

import itertools
import os
import socket
from contextlib import suppress
from pathlib import Path

_FIRST = 10_240
_FEWEST = 1_000
_STRIDE = 211
"""Between the first ports of two test processes whose numbers follow each other."""
_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

_given = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, given once by this process.

    Below those that the kernel gives to outgoing connections, which would take it before the server that it is for.
    """
    ports = range(_FIRST, _first_local_port())
    if len(ports) < _FEWEST:
        return _bound_port(0)
    for _ in ports:
        with suppress(OSError):
            return _bound_port(ports[(os.getpid() * _STRIDE + next(_given)) % len(ports)])
    raise RuntimeError("no port is free")


def _first_local_port() -> int:
    try:
        return int(_LOCAL_PORTS.read_text().split()[0])
    except OSError:
        return 32_768


def _bound_port(port: int) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
