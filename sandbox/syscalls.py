"""System call numbers of x86-64 and aarch64, and which calls a program in the sandbox may make.

Numbers are those of the kernel's own headers (asm/unistd_64.h and asm-generic/unistd.h); -1 marks a call that aarch64
lacks. Everything that is not named in a group below is refused.
"""

from __future__ import annotations

import os

MACHINES = ("x86_64", "aarch64")

# fmt: off
NUMBERS: dict[str, tuple[int, int]] = {
    "access": (21, -1), "alarm": (37, -1), "brk": (12, 214), "capget": (125, 90),
    "capset": (126, 91), "chdir": (80, 49), "chmod": (90, -1), "clock_getres": (229, 114),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "clone": (56, 220), "clone3": (435, 435),
    "close": (3, 57), "close_range": (436, 436), "copy_file_range": (326, 285), "creat": (85, -1), "dup": (32, 23),
    "dup2": (33, -1), "dup3": (292, 24), "epoll_create": (213, -1), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "epoll_wait": (232, -1),
    "eventfd2": (290, 19), "exit": (60, 93), "exit_group": (231, 94), "faccessat": (269, 48),
    "faccessat2": (439, 439), "fadvise64": (221, 223), "fallocate": (285, 47), "fchdir": (81, 50), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchown": (93, 55), "fcntl": (72, 25), "fdatasync": (75, 83), "fgetxattr": (193, 10),
    "flistxattr": (196, 13), "flock": (73, 32), "fremovexattr": (199, 16), "fsetxattr": (190, 7), "fstat": (5, 80),
    "fstatfs": (138, 44), "fsync": (74, 82), "ftruncate": (77, 46), "futex": (202, 98), "futimesat": (261, -1),
    "get_robust_list": (274, 100), "getcpu": (309, 168), "getcwd": (79, 17), "getdents": (78, -1),
    "getdents64": (217, 61), "getegid": (108, 177), "geteuid": (107, 175), "getgid": (104, 176),
    "getgroups": (115, 158), "getitimer": (36, 102), "getpeername": (52, 205), "getpgid": (121, 155),
    "getpgrp": (111, -1), "getpid": (39, 172), "getppid": (110, 173), "getpriority": (140, 141),
    "getrandom": (318, 278), "getresgid": (120, 150), "getresuid": (118, 148), "getrlimit": (97, 163),
    "getrusage": (98, 165), "getsid": (124, 156), "getsockname": (51, 204), "getsockopt": (55, 209),
    "gettid": (186, 178), "gettimeofday": (96, 169), "getuid": (102, 174), "getxattr": (191, 8),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29),
    "kill": (62, 129), "landlock_add_rule": (445, 445), "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446), "lgetxattr": (192, 9), "link": (86, -1), "linkat": (265, 37),
    "listxattr": (194, 11), "llistxattr": (195, 12), "lremovexattr": (198, 15), "lseek": (8, 62),
    "lsetxattr": (189, 6), "lstat": (6, -1), "madvise": (28, 233), "membarrier": (324, 283), "mkdir": (83, -1),
    "mkdirat": (258, 34), "mmap": (9, 222), "mount": (165, 40), "mount_setattr": (442, 442), "mprotect": (10, 226),
    "mremap": (25, 216), "msync": (26, 227), "munmap": (11, 215), "nanosleep": (35, 101), "newfstatat": (262, 79),
    "open": (2, -1), "openat": (257, 56), "openat2": (437, 437), "pause": (34, -1), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pipe": (22, -1), "pipe2": (293, 59), "pivot_root": (155, 41), "poll": (7, -1),
    "ppoll": (271, 73), "prctl": (157, 167), "pread64": (17, 67), "preadv": (295, 69), "preadv2": (327, 286),
    "prlimit64": (302, 261), "pselect6": (270, 72), "pwrite64": (18, 68), "pwritev": (296, 70),
    "pwritev2": (328, 287), "read": (0, 63), "readlink": (89, -1), "readlinkat": (267, 78), "readv": (19, 65),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "removexattr": (197, 14), "rename": (82, -1), "renameat": (264, 38),
    "renameat2": (316, 276), "restart_syscall": (219, 128), "rmdir": (84, -1), "rseq": (334, 293),
    "rt_sigaction": (13, 134), "rt_sigpending": (127, 136), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "sched_yield": (24, 124), "seccomp": (317, 277), "select": (23, -1),
    "sendfile": (40, 71), "sendmsg": (46, 211), "sendto": (44, 206), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "setgroups": (116, 159), "sethostname": (170, 161), "setitimer": (38, 103),
    "setresgid": (119, 149), "setresuid": (117, 147), "setrlimit": (160, 164), "setsid": (112, 157),
    "setsockopt": (54, 208), "setxattr": (188, 5), "shutdown": (48, 210), "sigaltstack": (131, 132),
    "socketpair": (53, 199), "stat": (4, -1), "statfs": (137, 43), "statx": (332, 291), "symlink": (88, -1),
    "symlinkat": (266, 36), "sync_file_range": (277, 84), "sysinfo": (99, 179), "tgkill": (234, 131),
    "time": (201, -1), "times": (100, 153), "truncate": (76, 45), "umask": (95, 166), "umount2": (166, 39),
    "uname": (63, 160), "unlink": (87, -1), "unlinkat": (263, 35), "unshare": (272, 97), "utime": (132, -1),
    "utimensat": (280, 88), "utimes": (235, -1), "wait4": (61, 260), "waitid": (247, 95), "write": (1, 64),
    "writev": (20, 66),
}

FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3
    pipe pipe2 flock fsync fdatasync open openat creat stat fstat lstat newfstatat statx access faccessat faccessat2
    readlink readlinkat getdents getdents64 getcwd chdir fchdir statfs fstatfs mkdir mkdirat rmdir unlink unlinkat
    rename renameat renameat2 link linkat symlink symlinkat chmod fchmod fchmodat utime utimes utimensat futimesat
    truncate ftruncate umask sendfile copy_file_range fadvise64 sync_file_range
"""
MEMORY = "munmap mremap madvise brk msync"
SIGNALS = """
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause
"""
THREADS = """
    set_robust_list get_robust_list set_tid_address rseq membarrier sched_yield sched_getaffinity
    sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min getpriority exit exit_group
    restart_syscall wait4 waitid
"""
TIME = """
    nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage alarm setitimer getitimer
"""
IDENTITY = """
    getpid gettid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups setsid
    uname sysinfo getcpu getrandom getrlimit setrlimit capget
"""
EVENTS = """
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2
    getsockname getpeername shutdown
"""
# fmt: on

ALLOWED = " ".join((FILES, MEMORY, SIGNALS, THREADS, TIME, IDENTITY, EVENTS)).split()
ZYGOTE_ONLY = [
    "mount",
    "umount2",
    "recvmsg",
    "sendmsg",
    "pidfd_open",
    "pidfd_send_signal",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
    "fchown",
    "seccomp",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "io_uring_register",
]
"""Calls that the zygote needs, and each child until it is set up; the child's own filter then refuses them."""

MISSING = ["clone3", "openat2"]
"""Answered with ENOSYS, so that the C library falls back to an older call whose arguments a filter can read."""

UNSUPPORTED = [
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
]
"""Answered with ENOTSUP, which `shutil.copy2` takes for a file system without extended attributes."""

PATHS = [
    "open",
    "openat",
    "creat",
    "truncate",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "chdir",
]
"""Calls that reach a file by its path: refused where nothing else keeps a program from the host's files."""

PRETENDED = ["chmod", "fchmod", "fchmodat", "utime", "utimes", "utimensat", "futimesat"]
"""Calls that change a file's mode or times without opening it, which Landlock does not govern. Where the host's files
are in reach and may belong to the program's user they do nothing and answer 0, so that `shutil.copy2` still works."""


def number(name: str, machine: str = os.uname().machine) -> int:
    """The number of a system call on `machine`; -1 where it does not exist."""
    return NUMBERS[name][MACHINES.index(machine)]


def numbers(names: list[str], machine: str) -> list[int]:
    """The numbers of the calls among `names` that exist on `machine`, ascending."""
    return sorted(found for name in names if (found := number(name, machine)) >= 0)
