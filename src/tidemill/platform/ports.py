"""Ports: chosen before anything starts, so that a busy one is one clear sentence."""

import errno
import ipaddress
import socket
from dataclasses import dataclass

from tidemill.kit.errors import Conflict, Forbidden, Invalid, TidemillError


@dataclass(frozen=True)
class Ports:
    """TCP ports of the processes; 0 asks for any free one."""

    api: int = 8000
    model_server: int = 8001
    worker: int = 8002
    mlflow: int = 5000


LOOPBACK = "127.0.0.1"


def address_of(process: str, host: str) -> str:
    """Where a process listens: the worker shows figures without a key, and so to this machine alone."""
    return LOOPBACK if process == "worker" else host


def claim_ports(wanted: Ports, host: str) -> Ports:
    """``wanted`` with free ports for zeros.

    Raises Conflict naming the process whose port is busy, Forbidden for a port that only root may use, and Invalid for
    an address that is not this machine's.
    """
    held: list[socket.socket] = []
    try:
        chosen = {name: _claim(held, address_of(name, host), name, port) for name, port in vars(wanted).items()}
    finally:
        for listener in held:
            listener.close()
    return Ports(**chosen)


def _claim(held: list[socket.socket], host: str, name: str, port: int) -> int:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.append(listener)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise _told(error, host, port, f"--{name.replace('_', '-')}-port") from None
    return int(listener.getsockname()[1])


def _told(error: OSError, host: str, port: int, option: str) -> TidemillError:
    if error.errno == errno.EADDRINUSE:
        return Conflict("port_busy", f"Port {port} is in use; choose another one with {option}.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Forbidden("port_forbidden", f"Port {port} is for root only; choose one above 1023 with {option}.")
    return Invalid("host_unusable", f"This machine has no address {host}; choose another one with --host.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``; a name is taken for what it says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
