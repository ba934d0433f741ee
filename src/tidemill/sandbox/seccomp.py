"""Seccomp: system calls that a computing child has no use for are refused by the kernel before they do anything.

Landlock is the list of what may be opened; this keeps away what Landlock does not look at: sockets, other processes,
changes to modes and owners, and the parts of the kernel where holes are found most often.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tidemill.sandbox.policy import Network
from tidemill.sandbox.syscalls import MACHINES, Machine

_PR_GET_SECCOMP, _PR_SET_SECCOMP, _MODE_FILTER = 21, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOWED, _REFUSED, _KILLED = 0x7FFF0000, 0x00050000, 0x80000000
_WORD = 0xFFFFFFFF

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_TYPE_OF_SOCKET, _STREAM, _DATAGRAM = 0xF, 1, 2
_TCP, _UDP = 6, 17
_FAST_OPEN = 0x20000000
_MAP_SHARED_ANONYMOUS = 0x21
_CLONE_THREAD = 0x00010000
_CLONE_SHARING = _CLONE_THREAD | 0x00000400 | 0x00000200
"""With descriptors (CLONE_FILES) and current folder (CLONE_FS), as threads have it: what one opens, the guard sees."""
_SIZES_OF_BUFFERS = (7, 8, 32, 33)
"""SO_SNDBUF, SO_RCVBUF and those that force them."""
_MOVING = ("sendfile", "splice", "tee", "vmsplice")
"""Keep pages in pipes and sockets, where they count for nobody; who copies a file by them then reads and writes."""
_CLOSE_RANGE_UNSHARE = 2
_OWNER_BITS = (0o100, 0o200, 0o400)
_CLONE_NAMESPACES = 0x7E020080
_PARENT_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _SHARING_OF_CORES = 1, 4, 22, 62
_CONTROLS = (0x5401, 0x802C542A, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5460)
"""TCGETS, TCGETS2, TIOCGPGRP, TIOCGWINSZ: is it a terminal? FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOQSIZE. Others
change what files and file systems are, as flags that keep a file from being removed, and give orders to terminals."""
_INVALID_PERSONALITY = 0xFFFFFFFF

_EVERY_SOCKET = ("accept", "accept4", "bind", "listen")
_SENDING = ("sendmsg", "sendmmsg")
_WITHOUT_EFFECT = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "futimesat", "utimensat", "sync", "syncfs",
)  # fmt: skip
"""Answered with success and not done: Landlock does not look at them, and honest code that copies a file makes them.
The last two write what all others have not written yet, and have these wait."""
_ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr",
               "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr")  # fmt: skip
"""Extended ones of any file, whatever Landlock says of its contents; answered as by a file system that has none."""
_HAS_RULES = frozenset({
    "clone", "kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "prlimit64", "sched_setaffinity",
    "socket", "socketpair", "connect", "sendto", "fcntl", "ioctl", "prctl", "personality", "clone3",
    "close_range", "mkdir", "mkdirat", "umask",
    *_ATTRIBUTES, "fallocate", "mmap", "setsockopt", *_MOVING,
    *_EVERY_SOCKET, *_SENDING, *_WITHOUT_EFFECT,
})  # fmt: skip


@dataclass(frozen=True)
class _Test:
    """Of the lower half of an argument, unless ``upper``: does it equal ``value`` under ``mask``?"""

    argument: int
    value: int
    mask: int = _WORD
    upper: bool = False


@dataclass(frozen=True)
class _Rule:
    """Answer ``call`` with ``error``: always, if an argument is ``if_equal``, or if none of ``unless_equal`` holds."""

    call: str
    error: int = errno.EPERM
    if_equal: _Test | None = None
    unless_equal: tuple[_Test, ...] = ()


def machine() -> Machine | None:
    """What is known of this one, None where the filter cannot be made."""
    return MACHINES.get(platform.machine())


def is_available() -> bool:
    if machine() is None:
        return False
    try:
        return int(ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)) >= 0
    except (OSError, AttributeError):
        return False


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(network: Network | None) -> None:
    """Filter the calling thread and all that it starts. Needs no_new_privs; raises OSError if the kernel refuses.

    The kernel has no way to take a filter off, and further ones can only refuse more.
    """
    found = machine()
    if found is None:
        raise OSError(errno.ENOSYS, "no filter is known for this machine")
    code = program(found, network, os.getpid())
    loaded = _Program(len(code) // 8, code)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(loaded), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp was refused")


def program(known: Machine, network: Network | None, process_id: int) -> bytes:
    """The filter as the kernel's classic BPF: pure, so that it can be looked at for machines that are not here."""
    code = _load(_ARCHITECTURE)
    code += _step(_JUMP_EQUAL, known.audit, 1, 0) + _step(_RETURN, _KILLED)
    code += _load(_NUMBER)
    # Also the second numbering of x86-64 (x32), whose numbers lie far above.
    code += _step(_JUMP_GREATER, known.newest, 0, 1) + _refuse(errno.ENOSYS)
    for rule in _rules(known, network, process_id):
        if rule.call in known.numbers:
            code += _compiled(rule, known.numbers[rule.call])
    return code + _step(_RETURN, _ALLOWED)


def _rules(known: Machine, network: Network | None, process_id: int) -> Iterator[_Rule]:
    yield from (_Rule(call) for call in known.numbers if call not in _HAS_RULES)
    yield from (_Rule(call, 0) for call in _WITHOUT_EFFECT)
    yield from (_Rule(call, errno.EOPNOTSUPP) for call in _ATTRIBUTES)
    # Takes a whole disk before anybody can look; who asks for it politely then writes instead.
    yield _Rule("fallocate", errno.EOPNOTSUPP)
    yield from (_Rule(call, errno.ENOSYS) for call in _MOVING)
    yield _Rule("clone3", errno.ENOSYS)  # its flags cannot be seen; the C library then asks by clone
    yield _Rule("clone", unless_equal=(_Test(0, _CLONE_SHARING, _CLONE_SHARING),))
    yield _Rule("close_range", if_equal=_Test(2, _CLOSE_RANGE_UNSHARE, _CLOSE_RANGE_UNSHARE))
    for flag in (1 << bit for bit in range(32) if _CLONE_NAMESPACES >> bit & 1):
        yield _Rule("clone", if_equal=_Test(0, flag, flag))
    yield from _of_folders()
    yield from _of_processes(process_id)
    yield from _of_sockets(network)
    # Memory without a file that is shared stays when it leaves the process, and counts for nobody.
    yield _Rule("mmap", if_equal=_Test(3, _MAP_SHARED_ANONYMOUS, _MAP_SHARED_ANONYMOUS))
    yield _Rule("prctl", if_equal=_Test(0, _PARENT_DEATH_SIGNAL))
    yield _Rule("prctl", if_equal=_Test(0, _DUMPABLE))  # would keep its open files from a guard of the same user
    for option in (_SECCOMP, _SHARING_OF_CORES):  # whose further filters may log, and which keeps others off a core
        yield _Rule("prctl", if_equal=_Test(0, option))
    yield _Rule("personality", unless_equal=(_Test(0, 0), _Test(0, _INVALID_PERSONALITY)))
    # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to others by way of a file. F_SETLEASE, F_NOTIFY: seeing others' use.
    for request in (8, 10, 15, 1024, 1026):
        yield _Rule("fcntl", if_equal=_Test(1, request))
    yield _Rule("ioctl", errno.ENOTTY, unless_equal=tuple(_Test(1, request) for request in _CONTROLS))


def _of_folders() -> Iterator[_Rule]:
    """None that its owner, and so the guard, may not look into."""
    for bit in _OWNER_BITS:
        yield _Rule("mkdir", unless_equal=(_Test(1, bit, bit),))
        yield _Rule("mkdirat", unless_equal=(_Test(2, bit, bit),))
        yield _Rule("umask", if_equal=_Test(0, bit, bit))


def _of_processes(process_id: int) -> Iterator[_Rule]:
    """Signals and processors of this process only, and its limits only to look at."""
    own = (_Test(0, process_id), _Test(0, 0))
    yield _Rule("kill", unless_equal=(*own, _Test(0, -process_id & _WORD)))
    yield _Rule("tgkill", unless_equal=own)
    yield _Rule("rt_sigqueueinfo", unless_equal=own)
    yield _Rule("rt_tgsigqueueinfo", unless_equal=own)
    yield _Rule("prlimit64", unless_equal=own)
    for upper in (False, True):  # limits may be asked for, not set: the superuser could raise them again
        yield _Rule("prlimit64", unless_equal=(_Test(2, 0, upper=upper),))
    yield _Rule("sched_setaffinity", unless_equal=own)


def _of_sockets(network: Network | None) -> Iterator[_Rule]:
    """A connected pair is allowed always; event loops wake themselves by one."""
    yield from (_Rule(call) for call in _EVERY_SOCKET)
    for option in _SIZES_OF_BUFFERS:  # memory of the kernel that counts for nobody; without effect, as honest code asks
        yield _Rule("setsockopt", 0, if_equal=_Test(2, option))
    yield _Rule("socketpair", unless_equal=(_Test(0, _AF_UNIX),))
    yield _Rule("socketpair", unless_equal=(_Test(1, _STREAM, _TYPE_OF_SOCKET),))
    if network is None:
        yield from (_Rule(call) for call in ("socket", "connect", *_SENDING))
        yield _Rule("sendto", unless_equal=(_Test(4, 0),))  # an address would name somebody else's socket
        yield _Rule("sendto", unless_equal=(_Test(4, 0, upper=True),))
        return
    families: tuple[int, ...] = (_AF_INET, _AF_INET6) if network.internet or network.names else ()
    families += (_AF_UNIX,) if network.unix else ()
    yield _Rule("socket", errno.EAFNOSUPPORT, unless_equal=tuple(_Test(0, family) for family in families))
    types = (_STREAM, _DATAGRAM) if network.names else (_STREAM,)
    yield _Rule("socket", unless_equal=tuple(_Test(1, kind, _TYPE_OF_SOCKET) for kind in types))
    # Landlock's list of ports is one of TCP's; a stream may also be of another protocol, such as Multipath TCP.
    protocols = (0, _TCP, _UDP) if network.names else (0, _TCP)
    yield _Rule("socket", errno.EPROTONOSUPPORT, unless_equal=tuple(_Test(2, number) for number in protocols))
    # Landlock watches connections, not what a first packet brings with it (TCP Fast Open).
    for call, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        yield _Rule(call, if_equal=_Test(flags, _FAST_OPEN, _FAST_OPEN))


def _compiled(rule: _Rule, number: int) -> bytes:
    """Beginning and ending with the call's number loaded."""
    refuse = _refuse(rule.error)
    if rule.if_equal is not None:
        body = _comparing(rule.if_equal, 0, 1) + refuse + _load(_NUMBER)
    elif rule.unless_equal:
        body = refuse + _load(_NUMBER)
        for test in reversed(rule.unless_equal):
            body = _comparing(test, len(body) // 8 - 1, 0) + body
    else:
        body = refuse
    return _step(_JUMP_EQUAL, number, 0, len(body) // 8) + body


def _comparing(test: _Test, when_equal: int, otherwise: int) -> bytes:
    loading = _load(_ARGUMENTS + 8 * test.argument + (4 if test.upper else 0))
    masking = b"" if test.mask == _WORD else _step(_AND, test.mask)
    return loading + masking + _step(_JUMP_EQUAL, test.value, when_equal, otherwise)


def _refuse(error: int) -> bytes:
    return _step(_RETURN, _REFUSED | error)


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
