"""Where Python, the libraries and the package lie: what every child may read, and no child may write."""

import os
import site
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda", "/usr/share/zoneinfo",
    "/usr/share/fonts", "/usr/share/locale", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/timezone",
    "/etc/mime.types", "/etc/os-release", "/etc/fonts",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version",
    "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/ostype",
    "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
FOR_NETWORK = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/ca-certificates",
)  # fmt: skip


def readable_roots(module: str) -> tuple[str, ...]:
    """Folders and files that a child needs to import ``module`` and every installed library.

    The path of imports is not taken as it is: it often begins with the folder a process was started in, which as often
    holds the platform's data directory. So it counts only where it holds neither that folder nor the user's home.
    """
    found = {*_SYSTEM, str(Path(sys.executable).parent), *map(str, _packages(module))}
    found.update(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    found.update(str(Path(prefix) / "lib") for prefix in (sys.prefix, sys.base_prefix))
    found.add(str(Path(sys.prefix) / "pyvenv.cfg"))
    found.update(entry for entry in sys.path if entry and _is_only_code(Path(entry)))
    return tuple(sorted(found))


def listable_roots(module: str) -> tuple[str, ...]:
    """Folders whose names the import system reads to find a package that lies outside the other roots."""
    return tuple(sorted({str(package.parent) for package in _packages(module)}))


def import_path() -> str:
    """For PYTHONPATH: that of this process."""
    return os.pathsep.join(path for path in sys.path if path)


def _packages(module: str) -> list[Path]:
    """The folders of the package that ``module`` lies in, and of this one."""
    found = []
    for top in {module.partition(".")[0], __name__.partition(".")[0]}:
        spec = find_spec(top)
        found += [Path(place) for place in spec.submodule_search_locations or ()] if spec is not None else []
    return found


def _is_only_code(entry: Path) -> bool:
    entry = entry.resolve()
    if site.ENABLE_USER_SITE and str(entry) == site.getusersitepackages():
        return True
    kept_away = [Path.cwd(), Path("~").expanduser()]
    return not any(place.resolve().is_relative_to(entry) for place in kept_away)
