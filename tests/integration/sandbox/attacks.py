"""What a hostile model tries. Stands alone: it is run as a compute function, and copied into a model as its code."""

# It asks the kernel as directly as it can, and takes any answer.
# ruff: noqa: BLE001, PLC0415, PTH101, PTH102, PTH108, PTH116, PTH123, PTH208, PTH211, SIM115

import contextlib
import ctypes
import mmap
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DONE = "done"
_PTRACE_ATTACH = 16
_X86 = os.uname().machine == "x86_64"


def attack(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """Each attempt by name, with ``done`` or the name of the error that stopped it."""
    return {name: _outcome(attempt) for name, attempt in _attempts(request).items()}


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        found = attempt()
    except BaseException as error:
        return type(error).__name__
    return DONE if found is None or found else "nothing"


def _attempts(request: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    parent = os.getppid()
    reading = {f"read {path}": lambda path=path: Path(path).read_bytes() for path in request["secrets"]}
    listing = {f"list {path}": lambda path=path: os.listdir(path) for path in request["folders"]}
    writing = {
        f"write {path}": lambda path=path: (Path(path) / "planted").write_text("x") for path in request["folders"]
    }
    return {
        **reading,
        **listing,
        **writing,
        "read /etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
        "environment of the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "memory of the parent": lambda: open(f"/proc/{parent}/mem", "rb"),
        "maps of the parent": lambda: Path(f"/proc/{parent}/maps").read_bytes(),
        "command line of the parent": lambda: Path(f"/proc/{parent}/cmdline").read_bytes(),
        "files of the parent": lambda: os.listdir(f"/proc/{parent}/fd"),
        "own environment": lambda: _secrets_in(dict(os.environ)) or None if _secrets_in(dict(os.environ)) else False,
        "change the mode of a secret": lambda: _changed_mode(request["secrets"][0]),
        "link to a secret": lambda: os.link(request["secrets"][0], "hard-link"),
        "symbolic link": lambda: os.symlink(request["secrets"][0], "soft-link"),
        "open a secret to others by its access list": lambda: _set_attribute_at(request["secrets"][0]),
        "take memory that counts for nobody": lambda: mmap.mmap(-1, 4096),
        "take such memory from a device": lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 4096),
        "attributes of a secret": lambda: os.listxattr(request["secrets"][0]),
        "first to be ended no more": lambda: Path("/proc/self/oom_score_adj").write_text("0"),
        "memory of its own as a file": lambda: Path("/proc/self/mem").open("r+b"),
        "root by way of itself": lambda: Path("/proc/self/root/etc/passwd").read_bytes(),
        "write to its own code": lambda: Path(__file__).open("ab"),
        "watch a folder": lambda: _watch(request["folders"][0]),
        "hold up whoever opens a file": _lease,
        "remove a secret": lambda: os.unlink(request["secrets"][0]),
        **_on_others(request, parent),
        **_on_the_kernel(),
    }


def _on_others(request: dict[str, Any], parent: int) -> dict[str, Callable[[], Any]]:
    return {
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", request["port"]), 5),
        "connect by Multipath TCP": lambda: _connect_multipath(request["port"]),
        "talk to the kernel by netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "talk to the host of a virtual machine": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "ciphers of the kernel": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "connect to a socket file": lambda: _connect_unix(request["socket"]),
        "send to a socket file": lambda: _send_unix(request["datagrams"]),
        "send from a pair": lambda: _send_from_pair(request["datagrams"]),
        "look at the parent by ptrace": lambda: _call("ptrace", _PTRACE_ATTACH, parent),
        "read the parent's memory": lambda: _read_memory(parent),
        "signal the parent": lambda: os.kill(parent, 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "limit the parent": lambda: _limit(parent),
        "slow the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "slow all processes of the user": lambda: os.setpriority(os.PRIO_USER, 0, 19),
        "come before all others": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "come before most others": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "take a power of the superuser": _take_a_power,
        "pin the parent": lambda: os.sched_setaffinity(parent, {0}),
        "descriptor of the parent": lambda: os.pidfd_open(parent),
    }


def _on_the_kernel() -> dict[str, Callable[[], Any]]:
    return {
        "faults of pages": lambda: _syscall(323 if _X86 else 282, 0),
        "counters of the processor": lambda: _syscall(298 if _X86 else 241, _buffer(128), 0, -1, -1, 0),
        "file by its handle": lambda: _syscall(304 if _X86 else 265, -100, _buffer(128), 0),
        "tree of mounts": lambda: _syscall(428, -100, b"/", 1),
        "memory of the machine shared by name": lambda: Path("/dev/shm/hostile").write_bytes(b"x"),
        "fork": _fork,
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "become a program": lambda: os.execv("/bin/true", ["true"]),
        "leave the session": os.setsid,
        "thread with descriptors of its own": lambda: _thread_without(0x400),
        "thread with a current folder of its own": lambda: _thread_without(0x200),
        "descriptors of its own": lambda: _syscall(436, 2**31, 2**31, 2),
        "hide open files": lambda: _call("prctl", 4, 0),
        "folder closed to its owner": lambda: os.mkdir("closed", 0o300),
        "folder closed to its owner, by its parent": lambda: os.mkdir("closed", 0o300, dir_fd=os.open(".", 0)),
        "folders closed to their owner": lambda: os.umask(0o400),
        "outlive the parent": lambda: _call("prctl", 1, 0),
        "new user namespace": lambda: _call("unshare", 0x10000000),
        "mount": lambda: _call("mount", b"none", b"/", b"tmpfs", 0, None),
        "change the root": lambda: os.chroot("/"),
        "io_uring": lambda: _syscall(425, 1, ctypes.create_string_buffer(256)),
        "bpf": lambda: _syscall(321 if _X86 else 280, 0, ctypes.create_string_buffer(128), 128),
        "keyring": lambda: _syscall(250 if _X86 else 219, 0, -3, 0, 0, 0),
        "a call from the future": lambda: _syscall(999),
        "shared memory": lambda: _call("shmget", 0, 4096, 0o1600),
        "memory as a file": lambda: os.memfd_create("x"),
        "take room of the disk at once": lambda: _allocate(0),
        "take room of the disk that no size shows": lambda: _allocate(1),
        "keep a file from being removed": lambda: _set_flags(0x10),
        "put letters into a terminal": lambda: _control(0x5412, b"x"),
        "take all asynchronous requests of the machine": lambda: _syscall(206 if _X86 else 0, 60_000, _buffer(8)),
        "put much into the buffers of sockets": _buffer_much,
        "keep pages in a pipe": _splice,
        "rules without end": lambda: _syscall(444, _buffer(24), ctypes.c_size_t(24), 0),
        "filter that logs": lambda: _syscall(317 if _X86 else 277, 1, 2, _buffer(16)),
        "keep others off a core": lambda: _call("prctl", 62, 1, 0, 1, 0),
        "fill the disk": lambda: _fill(Path("large")),
        "all memory": lambda: bytearray(200 << 30),
        "raise a limit": _raise_limit,
    }


def honest(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """What honest code does must work: temporary files, threads, pairs of sockets, its own process, errors."""
    scratch = Path("folder")
    scratch.mkdir()
    (scratch / "file").write_text("text")
    (scratch / "file").rename("renamed")
    Path("renamed").chmod(0o600)
    shutil.copyfile("renamed", scratch / "copy")
    with (scratch / "copy").open("r+b") as copy:
        os.posix_fallocate(copy.fileno(), 0, 100)
    shutil.rmtree(scratch)
    answers: list[int] = []
    thread = threading.Thread(target=answers.append, args=(1,))
    thread.start()
    thread.join()
    one, other = socket.socketpair()
    one.sendall(b"x")
    with Path("/proc/self/status").open() as status, Path("/dev/null").open("w") as nowhere:
        nowhere.write(status.readline())
    os.kill(os.getpid(), 0)
    return {"text": Path("renamed").read_text(), "threads": answers, "socket": other.recv(1).decode()}


def fill_with_files(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """Each file below the limit of one."""
    for number in range(10**9):
        Path(f"file-{number}").write_bytes(bytes(2**20))
    return {}


def fill_deleted(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    held = []
    while True:
        file = Path("gone").open("wb")
        Path("gone").unlink()
        file.write(bytes(2**20))
        file.flush()
        held.append(file)


def fill_mapped(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """Neither named nor open: only a page of each is mapped."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    while True:
        file = os.open("gone", os.O_CREAT | os.O_RDWR)
        os.write(file, bytes(2**20))
        assert library.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0)) != ctypes.c_void_p(-1).value
        os.close(file)
        os.unlink("gone")


def fill_deep(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """Below a path that is longer than any call takes, and in more folders than functions may call each other."""
    for _ in range(1500):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    return fill_with_files(request, reporter)


def fill_without_a_first_thread(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    """The kernel tells nothing of a process by its id any more once its first thread has ended."""
    threading.Thread(target=fill_deleted, args=(request,)).start()
    _syscall(60 if _X86 else 93, 0)
    return {}


def take_memory_without_a_first_thread(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    held: list[bytes] = []
    threading.Thread(target=lambda: [held.append(b"x" * 2**20) for _ in range(2**20)]).start()
    _syscall(60 if _X86 else 93, 0)
    return {}


def start_many_threads(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    threading.stack_size(2**16)
    with contextlib.suppress(RuntimeError):
        while True:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Event().wait()
    return {}


def answer_ahead() -> None:
    """Before anybody asks: what is read next is taken for the answer to another request, unless somebody looks."""
    body = b'{"prediction": ["made up"]}'
    os.write(int(sys.argv[1]), len(body).to_bytes(4, "big") + body)


def hang_up() -> None:
    """Close every socket and run on."""
    for descriptor in os.listdir("/proc/self/fd"):
        if int(descriptor) > 2 and Path(f"/proc/self/fd/{descriptor}").exists():
            os.close(int(descriptor))
    threading.Event().wait()


def name_a_secret(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    return {"path": request["secrets"][0]}


def speak_nonsense(request: dict[str, Any], reporter: Any = None) -> dict[str, Any]:
    line = memoryview(request["line"].encode() * request.get("times", 1) + b"\n")
    while line:
        line = line[os.write(int(sys.argv[1]), line) :]
    return {}


def _secrets_in(environment: dict[str, str]) -> list[str]:
    return [name for name in environment if name.startswith(("TIDEMILL_", "AWS_", "PG", "SECRET"))]


def _changed_mode(path: str) -> bool:
    before = os.stat(path).st_mode
    os.chmod(path, 0o666)
    return os.stat(path).st_mode != before


def _connect_multipath(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as connection:
        connection.settimeout(5)
        connection.connect(("127.0.0.1", port))


def _connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def _send_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", path)


def _send_from_pair(path: str) -> None:
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", path)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _thread_without(flag: int) -> None:
    """One that yields once and ends; it shares all but what ``flag`` says."""
    library = ctypes.CDLL(None, use_errno=True)
    stack = ctypes.create_string_buffer(2**16)
    top = ctypes.c_void_p((ctypes.addressof(stack) + 2**16) & ~15)
    threads_share = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
    if library.clone(library.syscall, top, threads_share & ~flag, ctypes.c_void_p(24 if _X86 else 124)) == -1:
        raise OSError(ctypes.get_errno(), "clone")
    time.sleep(0.1)  # on the stack that would be freed


def _take_a_power() -> None:
    """Any but reading what one does not own, which Landlock bounds."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if not int(status["CapPrm"], 16) & ~0b100:
        raise PermissionError


def _limit(process: int) -> None:
    import resource

    resource.prlimit(process, resource.RLIMIT_CPU)


def _raise_limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY:
        _fill(Path("larger"))


def _fill(path: Path) -> None:
    with path.open("wb") as out:
        for _ in range(1 << 12):
            out.write(bytes(1 << 20))
            out.flush()


def _allocate(mode: int) -> None:
    with Path("allocated").open("wb") as out:
        _syscall(285 if _X86 else 47, out.fileno(), ctypes.c_long(mode), ctypes.c_long(0), ctypes.c_long(4096))


def _set_flags(flags: int) -> None:
    import fcntl

    with Path("flagged").open("wb") as out:
        fcntl.ioctl(out, 0x40086602, flags.to_bytes(8, "little"))


def _control(request: int, argument: bytes) -> None:
    import fcntl

    fcntl.ioctl(2, request, argument)


def _buffer_much() -> bool:
    """Whether a socket's buffer can be made larger than it is."""
    one, _other = socket.socketpair()
    before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    for option in (socket.SO_SNDBUF, 32):
        one.setsockopt(socket.SOL_SOCKET, option, 2 * before)
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before


def _splice() -> None:
    _, into = os.pipe()
    page = _buffer(4096)
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096)
    _syscall(278 if _X86 else 75, into, piece, ctypes.c_size_t(1), 0)


def _buffer(size: int) -> Any:
    return ctypes.create_string_buffer(size)


def _read_memory(process: int) -> None:
    number = 310 if _X86 else 270
    _syscall(number, process, None, 0, None, 0, 0)


def _set_attribute_at(path: str) -> None:
    """setxattrat, which came with Linux 6.13, by its number."""
    value = ctypes.create_string_buffer(b"1")
    arguments = (ctypes.c_uint64 * 2)(ctypes.addressof(value), 1)
    _syscall(463, ctypes.c_long(-100), path.encode(), ctypes.c_long(0), b"user.note", arguments, ctypes.c_size_t(16))


def _watch(folder: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    watching = library.inotify_init1(0)
    if watching < 0 or library.inotify_add_watch(watching, folder.encode(), 0x100) < 0:
        raise OSError(ctypes.get_errno(), "inotify")


def _lease() -> None:
    import fcntl

    Path("leased").write_text("x")
    try:
        with Path("leased").open() as held:
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    finally:
        Path("leased").unlink()  # what is filled up to the limit elsewhere must not be over it


def _call(name: str, *arguments: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _syscall(number: int, *arguments: Any) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), str(number))
