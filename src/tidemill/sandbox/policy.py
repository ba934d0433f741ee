"""What one child may do, as its parent writes it down and its launcher reads it. Allow-lists only."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_OPEN_FILES = 1024
_OVERHEAD_BYTES = 2 * 2**30
_SPARE_ADDRESSES_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Limits:
    """What the kernel enforces by itself (setrlimit). None: no limit.

    data_bytes: private memory that can be written to, stacks of threads included. address_bytes: all that is mapped.
    file_bytes: the largest file. cpu_seconds: of all threads together.
    """

    data_bytes: int
    address_bytes: int
    file_bytes: int
    cpu_seconds: int | None = None
    open_files: int = _OPEN_FILES

    @staticmethod
    def of_memory(limit_bytes: int, file_bytes: int, cpu_seconds: int | None = None) -> "Limits":
        """Numeric libraries map buffers for every thread that they never touch, so the kernel's limits lie above what
        may be resident; who holds the process to that looks at it from outside."""
        data = limit_bytes + limit_bytes // 2 + _OVERHEAD_BYTES
        return Limits(data, 2 * data + _SPARE_ADDRESSES_BYTES, file_bytes, cpu_seconds)


@dataclass(frozen=True)
class Network:
    """ports: to which TCP connections may be made. unix: sockets on this machine. names: asking a name server."""

    ports: tuple[int, ...] = ()
    unix: bool = False
    names: bool = False

    @property
    def internet(self) -> bool:
        return bool(self.ports)


@dataclass(frozen=True)
class Policy:
    """read: files and folders with all below them. list: folders of which only names may be seen, with all below.
    write: folders in which files and folders may be made and removed. network: None for none at all.
    strict: the child ends rather than run with less than this."""

    read: tuple[str, ...]
    list: tuple[str, ...]
    write: tuple[str, ...]
    limits: Limits
    network: Network | None = None
    strict: bool = True

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "Policy":
        """Raises ValueError, TypeError or KeyError for anything else than `to_json` gives."""
        fields: dict[str, Any] = json.loads(text)
        limits, network = Limits(**fields.pop("limits")), fields.pop("network")
        if network is not None:
            network = Network(**{**network, "ports": tuple(network["ports"])})
        read, listed, written = (tuple(fields.pop(name)) for name in ("read", "list", "write"))
        return Policy(read, listed, written, limits, network, **fields)


@dataclass(frozen=True)
class Reach:
    """What a job's child needs beyond Python, the package and its own scratch directory.

    foreign: it runs code that is not ours, so that it is refused where the sandbox cannot hold it.
    addresses: URLs (database, HTTP) that it talks to; none means no network at all.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    addresses: tuple[str, ...] = field(default=(), repr=False)
    foreign: bool = False


NOTHING = Reach()
