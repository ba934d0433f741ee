"""Landlock by its three system calls: from then on this process opens what lies on its list, and nothing else."""

import ctypes
import os
import stat
from collections.abc import Iterable

from tidemill.sandbox.policy import Policy

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1
_BELOW_PATH, _TCP_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG = 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_READ = _READ_FILE | _READ_DIR
# Neither links nor sockets, pipes and devices: whoever reads the folder afterwards finds files and folders only.
_WRITE = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

ABI_OF_NETWORK = 4
ABI_OF_SCOPES = 6
_DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
"""Not ``/dev/zero``: mapped, it is memory that counts for nobody."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _BelowPath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi_version() -> int:
    """Of the running kernel; 0 where it has no Landlock, or a container's filter hides it."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def restrict(policy: Policy, abi: int) -> None:
    """Confine the calling thread and all that it starts from now on. Raises OSError if the kernel refuses.

    A domain cannot be left and a further one can only take away, so nothing that runs afterwards can undo it.
    """
    ruleset = _create(abi)
    try:
        for path in policy.list:
            _allow(ruleset, path, _READ_DIR)
        for path in policy.read:
            _allow(ruleset, path, _READ)
        for path in policy.write:
            _allow(ruleset, path, _WRITE & _handled(abi))
        for path in _DEVICES:
            _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
        _allow_ports(ruleset, policy.network.ports if policy.network and abi >= ABI_OF_NETWORK else ())
        forbid_new_privileges()
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def forbid_new_privileges() -> None:
    """No program that this process starts gains rights by set-user-id bits; the kernel asks for it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")


def _handled(abi: int) -> int:
    newest = {1: 12, 2: 13, 3: 14, 4: 14}.get(abi, 15)
    return (1 << (newest + 1)) - 1


def _create(abi: int) -> int:
    attributes = _Ruleset(
        _handled(abi),
        _BIND_TCP | _CONNECT_TCP if abi >= ABI_OF_NETWORK else 0,
        _ABSTRACT_SOCKETS | _SIGNALS if abi >= ABI_OF_SCOPES else 0,
    )
    known = 8 if abi < ABI_OF_NETWORK else 16 if abi < ABI_OF_SCOPES else 24
    return _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(known), ctypes.c_uint32(0))


def _allow(ruleset: int, path: str, access: int) -> None:
    """What does not exist cannot be allowed, and need not be."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _ON_FILES
        if access:
            rule = _BelowPath(access, descriptor)
            _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_BELOW_PATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _allow_ports(ruleset: int, ports: Iterable[int]) -> None:
    for port in ports:
        rule = _Port(_CONNECT_TCP, port)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_TCP_PORT), ctypes.byref(rule), ctypes.c_uint32(0))


def _call(number: int, *arguments: object) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    result = int(syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock refused ({os.strerror(code)})")
    return result
