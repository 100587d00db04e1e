"""Programs that reach for what is not theirs: each defines `attack()`, which returns only if it got through."""

from __future__ import annotations

from sandbox.catalogue.cases import QUICK, Entry, Kind, text
from sandbox.contract import Limits, Status

GONE = r"FileNotFoundError|PermissionError|NotADirectoryError|ReadOnly|Read-only|LookupError"
DENIED = r"PermissionError|OSError|LookupError|RuntimeError"
REFUSED = r"PermissionError|Operation not permitted"
UNKNOWN = r"Function not implemented"
ERROR = frozenset({Status.ERROR})
L0 = frozenset({"L0"})
X86_64 = frozenset({"x86_64"})

PUBLIC = {
    "HOME", "LANG", "LC_CTYPE", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH", "PYTHONHASHSEED",
    "TMPDIR", "TZ",
}  # fmt: skip
"""Variables that every program may see; their values are fixed."""

KERNEL_CALLS = """
import ctypes, os, sys
NUMBERS = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "capset": (126, 91), "clone": (56, 220),
    "clone3": (435, 435), "execveat": (322, 281), "fanotify_init": (300, 262), "finit_module": (313, 273),
    "fsopen": (430, 430), "io_uring_setup": (425, 425), "kcmp": (312, 272), "keyctl": (250, 219),
    "kill": (62, 129), "memfd_secret": (447, 447), "migrate_pages": (256, 238), "mount": (165, 40),
    "move_mount": (429, 429), "mprotect": (10, 226), "msgget": (68, 186), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pivot_root": (155, 41), "pkey_mprotect": (329, 288),
    "prctl": (157, 167), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "remap_file_pages": (216, 234), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "sched_setattr": (314, 274), "seccomp": (317, 277), "semget": (64, 190), "setns": (308, 268),
    "setpgid": (109, 154), "shmget": (29, 194), "signalfd4": (289, 74), "swapon": (167, 224),
    "syslog": (103, 116), "tgkill": (234, 131), "timer_create": (222, 107), "tkill": (200, 130),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vfork": (58, -1), "vmsplice": (278, 75),
}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(name, *arguments):
    number = name if isinstance(name, int) else NUMBERS[name][os.uname().machine == "aarch64"]
    wide = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in (number, *arguments)]
    result = libc.syscall(*wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
"""Kernel calls by name, past the C library, which would refuse some of them by itself."""

MEMORY = """
import ctypes, os
write = ctypes.CDLL(None).write
write.argtypes = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
def pages(below, above):
    '''The readable pages around an object on the heap: the kernel says which, for it copies them into a pipe.'''
    out, into = os.pipe()
    start = id(object()) & ~4095
    for page in range(start - (below << 20), start + (above << 20), 4096):
        if write(into, page, 4096) == 4096:
            yield os.read(out, 4096)
"""
"""A search of the process's own memory that needs no /proc."""


def attack(
    kind: Kind, name: str, statements: str, says: str = "", needs: frozenset[str] = frozenset(), before: str = "",
    limits: Limits = QUICK,
) -> Entry:  # fmt: skip
    """An entry whose program runs the statements with `call` and `libc` at hand."""
    lines = "".join(f"    {line}\n" for line in statements.split("\n"))
    says = says or (DENIED if kind in (Kind.READ, Kind.WRITE, Kind.NETWORK) else REFUSED)
    return program(kind, name, f"{KERNEL_CALLS}\ndef attack():\n{lines}", says, needs, before, limits)


def program(
    kind: Kind, name: str, source: str, says: str = DENIED, needs: frozenset[str] = frozenset(), before: str = "",
    limits: Limits = QUICK,
) -> Entry:  # fmt: skip
    """An entry with a program of its own; it ends in the kernel's refusal in every tier."""
    return Entry(name, kind, f"{text(source)}\n", ("attack()",), ERROR, ERROR, limits, says, text(before), needs=needs)


READS: list[Entry] = [
    program(
        Kind.READ,
        "environment",
        f"import os\ndef attack():\n    names = set(os.environ) - set({sorted(PUBLIC)})\n"
        "    if not names: raise LookupError('nothing but what is public')\n    return names",
        "nothing but what is public",
    ),
    attack(Kind.READ, "/etc/passwd", "return open('/etc/passwd').read()", GONE),
    attack(Kind.READ, "/etc/shadow", "return open('/etc/shadow').read()", GONE),
    attack(Kind.READ, "own environment through /proc", "return open('/proc/self/environ').read()", GONE),
    attack(Kind.READ, "parent's environment", "return open(f'/proc/{os.getppid()}/environ').read()", GONE),
    attack(Kind.READ, "init's environment", "return open('/proc/1/environ').read()", GONE),
    attack(Kind.READ, "list of processes", "return os.listdir('/proc')", GONE),
    attack(
        Kind.READ,
        "a host file through a symbolic link",
        "os.symlink('/etc/hostname', 'link')\nreturn open('link').read()",
        GONE,
    ),
    attack(
        Kind.READ, "a host file through a path that climbs", "return open('/tmp/../../../etc/hostname').read()", GONE
    ),
    attack(
        Kind.READ, "the user's home", "names = os.listdir('/home')\nif not names: raise LookupError\nreturn names", GONE
    ),
    attack(Kind.READ, "kernel information", "return open('/sys/kernel/notes', 'rb').read()", GONE),
    attack(Kind.READ, "a device", "return open('/dev/mem', 'rb').read(1)", GONE),
    attack(
        Kind.READ,
        "inherited descriptors",
        "for number in range(5, 256):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: continue\n"
        "    return number\n"
        "raise LookupError",
    ),
    attack(Kind.READ, "memory of the parent", "return call('process_vm_readv', os.getppid() or 1, b'', 0, b'', 0, 0)"),
    attack(Kind.READ, "tracing the parent", "return call('ptrace', 0x4206, os.getppid() or 1, 0, 0)"),
    attack(Kind.READ, "memory of a neighbour", "return call('process_vm_readv', os.getpid() - 1, b'', 0, b'', 0, 0)"),
    attack(Kind.READ, "a descriptor of the parent", "return call('pidfd_getfd', 0, 3, 0)", REFUSED),
    attack(Kind.READ, "open files compared", "return call('kcmp', os.getpid(), os.getppid() or 1, 0, 0, 0)", REFUSED),
    program(
        Kind.READ,
        "a secret in forked memory",
        f"""{MEMORY}
import re
def attack():
    needle = re.compile(rb"hunt[e]r2-of-a-neighbour")
    if any(needle.search(page) for page in pages(64, 64)): return True
    raise LookupError("not in memory")
""",
        "not in memory",
        before="SECRETS = ['hunter2-of-a-neighbour' + str(n) for n in range(1000)]\ndef attack(): return SECRETS",
    ),
    program(
        Kind.READ,
        "modules of the coordinator",
        """
        import sys
        def attack():
            found = {"sandbox.pool", "sandbox.worker", "sandbox.judge", "subprocess"} & set(sys.modules)
            if not found: raise LookupError("none loaded")
            return found
        """,
        "none loaded",
    ),
]

WRITES: list[Entry] = [
    attack(Kind.WRITE, "a host file", "open('/etc/motd', 'w').write('x')", GONE),
    attack(Kind.WRITE, "the standard library", "open(os.__file__, 'a').write('#')", GONE),
    attack(
        Kind.WRITE, "beside the standard library", "open(os.path.join(os.path.dirname(os.__file__), 'x.py'), 'w')", GONE
    ),
    attack(Kind.WRITE, "shared memory", "open('/dev/shm/x', 'w').write('x')", GONE),
    attack(Kind.WRITE, "the root", "open('/x', 'w').write('x')", GONE),
    attack(
        Kind.WRITE,
        "unlink through ctypes",
        "if libc.unlink(os.__file__.encode()): raise OSError(ctypes.get_errno(), 'unlink')",
    ),
    attack(
        Kind.WRITE,
        "a host file's mode",
        "os.chmod('/etc/hostname', 0o777)\nif not os.stat('/etc/hostname').st_mode & 2: raise LookupError",
        GONE,
    ),
    attack(
        Kind.WRITE,
        "the library's mode",
        "os.chmod(os.__file__, 0o777)\nif os.stat(os.__file__).st_mode & 0o777 != 0o777: raise OSError",
        "OSError",
    ),
    attack(
        Kind.WRITE,
        "the library's mode through a descriptor",
        "os.fchmod(os.open(os.__file__, 0), 0o777)\nif os.stat(os.__file__).st_mode & 0o777 != 0o777: raise OSError",
        "OSError",
    ),
    attack(
        Kind.WRITE,
        "a host file's times",
        "os.utime('/etc/hostname', (1, 1))\nif os.stat('/etc/hostname').st_mtime != 1: raise LookupError",
        GONE,
    ),
    attack(Kind.WRITE, "a host file's size", "os.truncate('/etc/hostname', 0)", GONE),
    attack(Kind.WRITE, "a device node", "os.mknod('node', 0o600 | 0o020000, os.makedev(1, 3))"),
    attack(
        Kind.WRITE,
        "200 MB in one file",
        "f = open('big', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))\nf.flush()",
        "OSError",
    ),
    attack(
        Kind.WRITE,
        "5,000 files",
        "for number in range(5000): open(f'{number}', 'w').close()",
        "OSError",
        needs=L0,
        limits=Limits(cpu_seconds=4.0, wall_seconds=20.0),
    ),
    program(
        Kind.WRITE,
        "a file visible to the next program",
        """
        import os
        def attack():
            found = [os.path.join(at, name) for at, folders, files in os.walk(".") for name in folders + files]
            try: found += [name for name in os.listdir("/tmp") if name.startswith("left-")]
            except PermissionError: pass
            if not found: raise LookupError("nothing there")
            return found
        """,
        "nothing there",
        before="""
        import os
        os.makedirs("left-a/b/c"); os.symlink("/", "left-link"); os.mkdir("left-shut", 0)
        open("left-a/b/c/file", "w").write("x"); open("left-file", "w").write("x"); os.link("left-file", "left-twin")
        def attack(): return 1
        """,
    ),
    attack(Kind.WRITE, "a hard link to a host file", "os.link('/etc/hostname', 'mine')", f"{GONE}|OSError"),
    attack(
        Kind.WRITE,
        "a file that nobody can delete",
        "import fcntl, struct\nwith open('stay', 'w') as file: fcntl.ioctl(file, 0x40086602, struct.pack('l', 0x10))",
        REFUSED,
    ),
    attack(Kind.WRITE, "a named pipe", "os.mkfifo('pipe')", REFUSED),
    attack(
        Kind.WRITE, "the working folder itself", "here = os.getcwd()\nos.chdir('/')\nos.rmdir(here)", "OSError|Error"
    ),
    attack(Kind.WRITE, "the working folder's name", "os.rename(os.getcwd(), os.getcwd() + '-mine')", "OSError|Error"),
]

NETWORK: list[Entry] = [
    attack(Kind.NETWORK, "TCP", "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)"),
    attack(
        Kind.NETWORK,
        "UDP",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    ),
    attack(
        Kind.NETWORK,
        "names",
        "import socket\nreturn socket.getaddrinfo('example.org', 80)",
        r"gaierror|PermissionError|OSError",
    ),
    attack(Kind.NETWORK, "abstract socket", "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0x')"),
    attack(Kind.NETWORK, "raw socket", "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    attack(Kind.NETWORK, "netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    attack(Kind.NETWORK, "bind and listen", "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()"),
    attack(
        Kind.NETWORK,
        "a datagram pair that sends elsewhere",
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    ),
    attack(
        Kind.NETWORK,
        "a stream pair that sends elsewhere",
        "import socket\na, b = socket.socketpair()\na.sendto(b'x', '\\0x')",
    ),
    attack(
        Kind.NETWORK,
        "descriptors over a pair",
        "import socket, array\na, b = socket.socketpair()\nsocket.send_fds(a, [b'x'], [0])",
    ),
    attack(Kind.NETWORK, "vsock", "import socket\nsocket.socket(40, socket.SOCK_STREAM)"),
]

PROCESSES: list[Entry] = [
    attack(Kind.PROCESS, "fork", "if os.fork() == 0: os._exit(0)"),
    attack(Kind.PROCESS, "vfork through ctypes", "return call('vfork')"),
    attack(Kind.PROCESS, "clone through ctypes", "if call('clone', 17, 0, 0, 0, 0) == 0: os._exit(0)"),
    attack(Kind.PROCESS, "clone with a high word", "if call('clone', (1 << 32) | 17, 0, 0, 0, 0) == 0: os._exit(0)"),
    attack(Kind.PROCESS, "clone3", "return call('clone3', bytes(88), 88)", UNKNOWN),
    attack(Kind.PROCESS, "os.system", "status = os.system('true')\nif status: raise OSError(status)", "OSError"),
    attack(Kind.PROCESS, "subprocess", "import subprocess\nsubprocess.run(['true'])"),
    attack(Kind.PROCESS, "execve", "os.execv('/bin/true', ['true'])"),
    attack(
        Kind.PROCESS,
        "multiprocessing",
        "import multiprocessing\np = multiprocessing.get_context('fork').Process(target=print)\np.start()",
    ),
    attack(Kind.PROCESS, "signal to everybody", "os.kill(-1, 9)"),
    attack(Kind.PROCESS, "signal to the parent", "os.kill(os.getppid() or 2, 9)"),
    attack(Kind.PROCESS, "signal to the group", "os.kill(0, 9)"),
    attack(
        Kind.PROCESS,
        "signal through a descriptor",
        "import signal\nsignal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0)",
    ),
    attack(Kind.PROCESS, "signals by descriptor owner", "import fcntl\nfcntl.fcntl(0, 8, 1)"),
    attack(
        Kind.PROCESS,
        "raised limits",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nreturn 1",
        r"ValueError|PermissionError",
    ),
    attack(
        Kind.PROCESS,
        "another's limits",
        "import resource\nreturn resource.prlimit(os.getppid() or 2, resource.RLIMIT_CPU)",
    ),
    attack(Kind.PROCESS, "priority", "os.setpriority(os.PRIO_PROCESS, 0, -5)"),
    attack(Kind.PROCESS, "scheduler", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    attack(Kind.PROCESS, "processor", "os.sched_setaffinity(0, {0})"),
    attack(
        Kind.PROCESS,
        "fork bomb through ctypes",
        "started = 0\n"
        "for _ in range(40):\n"
        "    child = libc.fork()\n"
        "    if child == 0:\n"
        "        import time; time.sleep(3); os._exit(0)\n"
        "    started += child > 0\n"
        "if not started: raise PermissionError\n"
        "return started",
    ),
    attack(
        Kind.PROCESS,
        "daemon that forks twice",
        "if libc.fork() == 0:\n"
        "    os.setsid()\n"
        "    if libc.fork() == 0:\n"
        "        import time; time.sleep(3)\n"
        "    os._exit(0)\n"
        "raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))",
    ),
    attack(Kind.PROCESS, "execveat", "return call('execveat', -100, b'/bin/true', 0, 0, 0)"),
    attack(Kind.PROCESS, "signal with a high word", "return call('kill', (1 << 32) | os.getpid(), 9)"),
    attack(Kind.PROCESS, "queued signal", "return call('rt_sigqueueinfo', os.getppid() or 2, 9, bytes(128))"),
    attack(Kind.PROCESS, "queued signal to a thread", "return call('rt_tgsigqueueinfo', 2, 2, 9, bytes(128))"),
    attack(Kind.PROCESS, "signal to a thread", "return call('tkill', os.getppid() or 2, 9)"),
    attack(
        Kind.PROCESS, "signal to another's thread", "return call('tgkill', os.getppid() or 2, os.getppid() or 2, 9)"
    ),
    attack(
        Kind.PROCESS,
        "signal to every number",
        "reached = []\n"
        "for pid in range(1, 70_000):\n"
        "    if pid == os.getpid(): continue\n"
        "    try: os.kill(pid, 0)\n"
        "    except PermissionError: continue\n"
        "    except ProcessLookupError: pass\n"
        "    reached.append(pid)\n"
        "if not reached: raise PermissionError\n"
        "return reached",
    ),
    attack(Kind.PROCESS, "outliving the parent", "return call('prctl', 1, 0, 0, 0, 0)"),
    attack(Kind.PROCESS, "another's group", "return call('setpgid', 0, 1)"),
    attack(Kind.PROCESS, "deadline scheduling", "return call('sched_setattr', 0, bytes(48), 0)"),
    attack(Kind.PROCESS, "timer that signals others", "return call('timer_create', 0, bytes(64), bytes(8))"),
    program(
        Kind.PROCESS,
        "more processes by clone and raised limits",
        """
        import os, resource
        def attack():
            for name in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
                soft, hard = resource.getrlimit(name)
                try: resource.setrlimit(name, (hard, hard + 1 if hard != -1 else -1))
                except (ValueError, PermissionError): continue
                if hard != -1: return name
            raise PermissionError
        """,
        REFUSED,
    ),
]

KERNEL: list[Entry] = [
    attack(Kind.KERNEL, "keyctl", "return call('keyctl', 0, 0, 0, 0)"),
    attack(Kind.KERNEL, "add_key", "return call('add_key', b'user', b'x', b'x', 1, -2)"),
    attack(Kind.KERNEL, "io_uring", "return call('io_uring_setup', 8, bytes(120))"),
    attack(Kind.KERNEL, "userfaultfd", "return call('userfaultfd', 0)"),
    attack(Kind.KERNEL, "perf events", "return call('perf_event_open', bytes(120), 0, -1, -1, 0)"),
    attack(Kind.KERNEL, "bpf", "return call('bpf', 0, bytes(120), 120)"),
    attack(Kind.KERNEL, "unshare", "return call('unshare', 0x10000000)"),
    attack(Kind.KERNEL, "setns", "return call('setns', 0, 0)"),
    attack(Kind.KERNEL, "mount", "return call('mount', b'none', b'/tmp', b'tmpfs', 0, 0)"),
    attack(Kind.KERNEL, "umount", "return call('umount2', b'/tmp', 2)"),
    attack(Kind.KERNEL, "chroot", "os.chroot('.')"),
    attack(Kind.KERNEL, "pivot_root", "return call('pivot_root', b'.', b'.')"),
    attack(Kind.KERNEL, "setuid 0", "os.setuid(0)"),
    attack(Kind.KERNEL, "setresuid 0", "os.setresuid(0, 0, 0)"),
    attack(
        Kind.KERNEL,
        "capabilities",
        "return call('capset', (0x20080522).to_bytes(4, 'little') + bytes(4), b'\\xff' * 24)",
    ),
    attack(Kind.KERNEL, "open_by_handle_at", "return call('open_by_handle_at', -100, bytes(64), 0)"),
    attack(Kind.KERNEL, "writable and executable memory", "import mmap\nmmap.mmap(-1, 4096, prot=7)"),
    attack(Kind.KERNEL, "executable memory", "import mmap\nmmap.mmap(-1, 4096, prot=5)"),
    attack(
        Kind.KERNEL,
        "memory made executable",
        "page = libc.mmap\npage.restype = ctypes.c_void_p\n"
        "address = page(None, 4096, 3, 0x22, -1, 0)\nreturn call('mprotect', address, 4096, 5)",
    ),
    attack(Kind.KERNEL, "memfd", "return os.memfd_create('x')"),
    attack(Kind.KERNEL, "System V shared memory", "return call('shmget', 0, 4096, 0o1600)"),
    attack(Kind.KERNEL, "System V queues", "return call('msgget', 0, 0o1600)"),
    attack(Kind.KERNEL, "personality", "return call('personality', 0x0400000)"),
    attack(Kind.KERNEL, "ptrace", "return call('ptrace', 0, 0, 0, 0)"),
    attack(Kind.KERNEL, "another filter", "return call('seccomp', 0, 0, 0)"),
    attack(Kind.KERNEL, "dumpable again", "return call('prctl', 4, 1, 0, 0, 0)"),
    attack(Kind.KERNEL, "a name space through prctl", "return call('prctl', 38, 1, 0, 0, 0)"),
    attack(Kind.KERNEL, "32-bit calls of x32", "return call(0x40000000 + 39)", UNKNOWN, X86_64),
    attack(Kind.KERNEL, "clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)"),
    attack(Kind.KERNEL, "host name", "import socket\nsocket.sethostname('x')"),
    attack(Kind.KERNEL, "typing into the terminal", "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')"),
    attack(Kind.KERNEL, "kernel log", "return call('syslog', 3, bytes(64), 64)"),
    attack(Kind.KERNEL, "modules", "return call('finit_module', 0, b'', 0)"),
    attack(Kind.KERNEL, "reboot", "return call('reboot', 0xfee1dead, 672274793, 0, 0)"),
    attack(Kind.KERNEL, "swap", "return call('swapon', b'x', 0)"),
    attack(Kind.KERNEL, "mknod", "os.mknod('/tmp/node', 0o600 | 0o060000, os.makedev(8, 0))"),
    attack(Kind.KERNEL, "name_to_handle_at", "return call('name_to_handle_at', -100, b'.', bytes(64), bytes(8), 0)"),
    attack(Kind.KERNEL, "new mount interface", "return call('fsopen', b'tmpfs', 0)"),
    attack(Kind.KERNEL, "open_tree", "return call('open_tree', -100, b'/', 1)"),
    attack(Kind.KERNEL, "move_mount", "return call('move_mount', -100, b'/', -100, b'/tmp', 0)"),
    attack(Kind.KERNEL, "memfd_secret", "return call('memfd_secret', 0)"),
    attack(Kind.KERNEL, "System V semaphores", "return call('semget', 0, 1, 0o1600)"),
    attack(Kind.KERNEL, "signalfd", "return call('signalfd4', -1, bytes(8), 8, 0)"),
    attack(Kind.KERNEL, "fanotify", "return call('fanotify_init', 0, 0)"),
    attack(Kind.KERNEL, "quotactl", "return call('quotactl', 0, 0, 0, 0)"),
    attack(Kind.KERNEL, "process accounting", "return call('acct', b'/tmp/x')"),
    attack(Kind.KERNEL, "vmsplice", "return call('vmsplice', 1, 0, 0, 0)"),
    attack(Kind.KERNEL, "protection keys", "return call('pkey_mprotect', 0, 4096, 5, -1)"),
    attack(Kind.KERNEL, "process_madvise", "return call('process_madvise', 0, 0, 0, 0, 0)"),
    attack(Kind.KERNEL, "pages of another process", "return call('migrate_pages', os.getppid() or 1, 1, 0, 0)"),
    attack(Kind.KERNEL, "memory mapped anew", "return call('remap_file_pages', 0, 4096, 0, 0, 0)"),
    attack(
        Kind.KERNEL,
        "a library of its own",
        "open('own.so', 'wb').write(open(os.__file__, 'rb').read())\n"
        "import mmap\nfile = os.open('own.so', os.O_RDWR)\nmmap.mmap(file, 4096, mmap.MAP_PRIVATE, 5)",
        needs=L0,
    ),
]

ESCAPES = READS + WRITES + NETWORK + PROCESSES + KERNEL
