"""Numbers of the system calls that a sandbox refuses, by machine."""

from typing import NamedTuple


class Machine(NamedTuple):
    """audit: how seccomp names the architecture. numbers: system call to number; newest: the highest one looked at."""

    audit: int
    numbers: dict[str, int]
    newest: int


_NEWEST = 462
"""Calls that came later are answered as if the kernel did not know them, until somebody has looked at them."""

_COMMON = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447, "process_mrelease": 448,
    "map_shadow_stack": 453, "statmount": 457, "listmount": 458, "lsm_set_self_attr": 460,
}  # fmt: skip

_X86_64 = {
    "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49, "listen": 50, "socketpair": 53,
    "accept4": 288, "sendmmsg": 307,
    "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
    "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
    "setpgid": 109, "setsid": 112, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "prlimit64": 302, "setrlimit": 160,
    "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203,
    "sched_setattr": 314, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
    "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220,
    "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "mq_open": 240, "mq_unlink": 241, "memfd_create": 319,
    "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "syslog": 103, "quotactl": 179, "iopl": 172,
    "ioperm": 173, "modify_ldt": 154, "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159,
    "sethostname": 170, "setdomainname": 171, "personality": 135, "vhangup": 153, "open_by_handle_at": 304,
    "mmap": 9, "name_to_handle_at": 303, "fanotify_init": 300, "fanotify_mark": 301,
    "inotify_init": 253, "inotify_init1": 294, "inotify_add_watch": 254, "lookup_dcookie": 212, "ustat": 136,
    "mkdir": 83, "mkdirat": 258, "umask": 95,
    "fcntl": 72, "ioctl": 16, "prctl": 157, "mknod": 133, "mknodat": 259,
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
    "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
    "getxattr": 191, "lgetxattr": 192, "fgetxattr": 193, "listxattr": 194, "llistxattr": 195, "flistxattr": 196,
    "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "fchmodat2": 452,
    "fallocate": 285, "sync": 162, "syncfs": 306, "io_setup": 206, "io_submit": 209, "seccomp": 317,
    "uselib": 134, "sysfs": 139, "remap_file_pages": 216,
    "setsockopt": 54, "sendfile": 40, "splice": 275, "tee": 276, "vmsplice": 278,
}  # fmt: skip

_AARCH64 = {
    "socket": 198, "connect": 203, "accept": 202, "sendto": 206, "sendmsg": 211, "bind": 200, "listen": 201,
    "socketpair": 199, "accept4": 242, "sendmmsg": 269,
    "clone": 220, "execve": 221, "execveat": 281,
    "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
    "setpgid": 154, "setsid": 157, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "prlimit64": 261, "setrlimit": 164,
    "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122,
    "sched_setattr": 274, "ioprio_set": 30, "migrate_pages": 238, "move_pages": 239,
    "shmget": 194, "shmat": 196, "shmctl": 195, "semget": 190, "semop": 193, "semctl": 191, "semtimedop": 192,
    "msgget": 186, "msgsnd": 189, "msgrcv": 188, "msgctl": 187, "mq_open": 180, "mq_unlink": 181, "memfd_create": 279,
    "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
    "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
    "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89, "syslog": 116, "quotactl": 60,
    "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171,
    "sethostname": 161, "setdomainname": 162, "personality": 92, "vhangup": 58, "open_by_handle_at": 265,
    "mmap": 222, "name_to_handle_at": 264, "fanotify_init": 262, "fanotify_mark": 263,
    "inotify_init1": 26, "inotify_add_watch": 27, "lookup_dcookie": 18,
    "mkdirat": 34, "umask": 166,
    "fcntl": 25, "ioctl": 29, "prctl": 167, "mknodat": 33,
    "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
    "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    "getxattr": 8, "lgetxattr": 9, "fgetxattr": 10, "listxattr": 11, "llistxattr": 12, "flistxattr": 13,
    "utimensat": 88, "fchmodat2": 452,
    "fallocate": 47, "sync": 81, "syncfs": 267, "io_setup": 0, "io_submit": 2, "seccomp": 277, "remap_file_pages": 234,
    "setsockopt": 208, "sendfile": 71, "splice": 76, "tee": 77, "vmsplice": 75,
}  # fmt: skip

MACHINES = {
    "x86_64": Machine(0xC000003E, _COMMON | _X86_64, _NEWEST),
    "aarch64": Machine(0xC00000B7, _COMMON | _AARCH64, _NEWEST),
}
"""Both count their words from the lower half."""
