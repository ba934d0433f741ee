"""What a parent needs to start a confined child: its command, its environment and its policy."""

import os
import sys
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tidemill.kit.errors import Unsupported
from tidemill.sandbox.confinement import Kernel
from tidemill.sandbox.policy import Limits, Network, Policy, Reach
from tidemill.sandbox.roots import FOR_NETWORK, import_path, listable_roots, readable_roots

_INHERITED = ("PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
_INHERITED_BEGINNINGS = ("LC_",)
_INHERITED_WITH_NETWORK = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy",
)  # fmt: skip
_FILES_WITH_NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PGSSLROOTCERT")
_PORTS = {"http": 80, "https": 443}
_POSTGRES_PORT = 5432
_LAUNCHER = "tidemill.sandbox.launch"


def command(policy: Policy, module: str, descriptor: int) -> list[str]:
    """``descriptor``: of the socket to this process, the only one that the child keeps; the argument of ``module``."""
    return [sys.executable, "-P", "-m", _LAUNCHER, policy.to_json(), str(os.getpid()), module, str(descriptor)]


def refuse_foreign_code(kernel: Kernel, allow_unconfined: bool) -> None:
    """Raises Unsupported where code that is not ours could not be confined and nobody has allowed that."""
    if kernel.level != "full" and not allow_unconfined:
        raise Unsupported(
            "sandbox_unavailable",
            f"This model may run code of its maker, which this machine cannot confine: it lacks {kernel.lacks}. "
            "If you trust every such model: --allow-unconfined (TIDEMILL_SANDBOX__ALLOW_UNCONFINED).",
        )


def policy_of(module: str, reach: Reach, folders: Iterable[Path], limits: Limits, strict: bool) -> Policy:
    """``module`` is what the child imports, ``folders`` are its own to write to."""
    network = network_of(reach.addresses)
    written = tuple(str(folder) for folder in (*folders, *reach.write))
    certificates = [value for name in _FILES_WITH_NETWORK if (value := os.environ.get(name))]
    return Policy(
        read=(*readable_roots(module), *map(str, reach.read), *((*FOR_NETWORK, *certificates) if network else ())),
        list=listable_roots(module),
        write=written,
        limits=limits,
        network=network,
        strict=strict,
    )


def environment(work: Path, threads: int, networked: bool) -> dict[str, str]:
    """Made from nothing: what is not named here, such as a password, cannot come along. ``work`` is the child's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED
        or name.startswith(_INHERITED_BEGINNINGS)
        or (networked and (name in _INHERITED_WITH_NETWORK or name.startswith("PG")))
    }
    return kept | _of_threads(threads) | {
        "HOME": str(work),
        "USER": "tidemill",
        "TMPDIR": str(work),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(work),
        "PYTHONPATH": import_path(),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # What a library cannot do with an optional part that nobody asked for is no line for a job's log.
        "PYTHONWARNINGS": "ignore:SOCKS support in urllib3",
        # It would start processes, which a child may not.
        "JOBLIB_MULTIPROCESSING": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }  # fmt: skip


def _of_threads(count: int) -> dict[str, str]:
    threads = str(count)
    names = ("OMP", "OPENBLAS", "MKL", "RAYON", "VECLIB")
    return {
        **{f"{name}_NUM_THREADS": threads for name in names},
        "NUMEXPR_MAX_THREADS": threads,
        "POLARS_MAX_THREADS": threads,
        "LOKY_MAX_CPU_COUNT": threads,
        # Each further arena keeps freed memory of its own, which the limit counts.
        "MALLOC_ARENA_MAX": "2",
        # Threads that spin while they wait make LightGBM up to fifty times slower where cores are shared.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def network_of(addresses: Sequence[str]) -> Network | None:
    """Exactly what talking to these URLs needs; None for no URL."""
    ports, unix, names = set(), False, False
    for address in addresses:
        host, port = _place(address)
        if host.startswith("/"):
            unix = True
        else:
            ports.add(port)
            names = names or not _is_ip(host)
    return Network(tuple(sorted(ports)), unix, names) if addresses else None


def _place(address: str) -> tuple[str, int]:
    """Host and port. A host of PostgreSQL may stand in the query or the environment, and be a folder of sockets."""
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in {"postgres", "postgresql"}:
        return parts.hostname or "", parts.port or _PORTS.get(scheme, 0)
    query = parse_qs(parts.query)
    host = parts.hostname or query.get("host", [os.environ.get("PGHOST", "")])[0]
    port = parts.port or query.get("port", [os.environ.get("PGPORT", "")])[0]
    return host or "/", int(port or _POSTGRES_PORT)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
