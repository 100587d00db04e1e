"""Programs that reach for what is not theirs: each defines `attack()`, which returns only if it got through."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class Attack:
    name: str
    program: str
    refusal: str  # what the report must name


GONE = r"FileNotFoundError|PermissionError|NotADirectoryError|ReadOnly|Read-only|LookupError"
DENIED = r"PermissionError|OSError|LookupError|RuntimeError"

LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*arguments):
    wide = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(*wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""


def attack(name: str, program: str, refusal: str = DENIED) -> Attack:
    return Attack(name, dedent(program).strip() + "\n", refusal)


def body(name: str, statements: str, refusal: str = DENIED) -> Attack:
    lines = "".join(f"    {line}\n" for line in statements.split("\n"))
    return Attack(name, f"{LIBC}\nimport sys\ndef attack():\n{lines}", refusal)


READS = [
    body("/etc/passwd", "return open('/etc/passwd').read()", GONE),
    body("/etc/shadow", "return open('/etc/shadow').read()", GONE),
    body("own environment through /proc", "return open('/proc/self/environ').read()", GONE),
    body("parent's environment", "return open(f'/proc/{os.getppid()}/environ').read()", GONE),
    body("init's environment", "return open('/proc/1/environ').read()", GONE),
    body("list of processes", "return os.listdir('/proc')", GONE),
    body(
        "a host file through a symbolic link", "os.symlink('/etc/hostname', 'link')\nreturn open('link').read()", GONE
    ),
    body("a host file through a path that climbs", "return open('/tmp/../../../etc/hostname').read()", GONE),
    body("the user's home", "names = os.listdir('/home')\nif not names: raise LookupError\nreturn names", GONE),
    body("kernel information", "return open('/sys/kernel/notes', 'rb').read()", GONE),
    body("a device", "return open('/dev/mem', 'rb').read(1)", GONE),
    body(
        "inherited descriptors",
        "for number in range(4, 256):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: continue\n"
        "    return number\n"
        "raise LookupError",
    ),
    body("memory of the parent", "return call(310, os.getppid() or 1, b'', 0, b'', 0, 0)"),
    body("tracing the parent", "return call(101, 0x4206, os.getppid() or 1, 0, 0)"),
]

WRITES = [
    body("a host file", "open('/etc/motd', 'w').write('x')", GONE),
    body("the standard library", "open(os.__file__, 'a').write('#')", GONE),
    body("beside the standard library", "open(os.path.join(os.path.dirname(os.__file__), 'x.py'), 'w')", GONE),
    body("shared memory", "open('/dev/shm/x', 'w').write('x')", GONE),
    body("the root", "open('/x', 'w').write('x')", GONE),
    body("unlink through ctypes", "call(87, os.__file__.encode())", DENIED),
    body(
        "a host file's mode",
        "os.chmod('/etc/hostname', 0o777)\nif not os.stat('/etc/hostname').st_mode & 2: raise LookupError",
        GONE,
    ),
    body(
        "the library's mode",
        "os.chmod(os.__file__, 0o777)\nif os.stat(os.__file__).st_mode & 0o777 != 0o777: raise OSError",
        "OSError",
    ),
    body(
        "the library's mode through a descriptor",
        "os.fchmod(os.open(os.__file__, 0), 0o777)\nif os.stat(os.__file__).st_mode & 0o777 != 0o777: raise OSError",
        "OSError",
    ),
    body(
        "a host file's times",
        "os.utime('/etc/hostname', (1, 1))\nif os.stat('/etc/hostname').st_mtime != 1: raise LookupError",
        GONE,
    ),
    body("a host file's size", "os.truncate('/etc/hostname', 0)", GONE),
    body("a device node", "os.mknod('node', 0o600 | 0o020000, os.makedev(1, 3))"),
    body(
        "200 MB in one file",
        "f = open('big', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))\nf.flush()",
        "OSError",
    ),
]

NETWORK = [
    body("TCP", "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)"),
    body("UDP", "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))"),
    body("names", "import socket\nreturn socket.getaddrinfo('example.org', 80)", r"gaierror|PermissionError|OSError"),
    body("abstract socket", "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0x')"),
    body("raw socket", "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    body("netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    body("bind and listen", "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()"),
    body(
        "a datagram pair that sends elsewhere",
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    ),
    body("a stream pair that sends elsewhere", "import socket\na, b = socket.socketpair()\na.sendto(b'x', '\\0x')"),
    body(
        "descriptors over a pair", "import socket, array\na, b = socket.socketpair()\nsocket.send_fds(a, [b'x'], [0])"
    ),
]

PROCESSES = [
    body("fork", "if os.fork() == 0: os._exit(0)"),
    body("vfork through ctypes", "return call(58)"),
    body("clone through ctypes", "if call(56, 17, 0, 0, 0, 0) == 0: os._exit(0)"),
    body("clone with a high word", "if call(56, (1 << 32) | 17, 0, 0, 0, 0) == 0: os._exit(0)"),
    body("clone3", "return call(435, bytes(88), 88)"),
    body("os.system", "status = os.system('true')\nif status: raise OSError(status)"),
    body("subprocess", "import subprocess\nsubprocess.run(['true'])"),
    body("execve", "os.execv('/bin/true', ['true'])"),
    body(
        "multiprocessing",
        "import multiprocessing\np = multiprocessing.get_context('fork').Process(target=print)\np.start()",
    ),
    body("signal to everybody", "os.kill(-1, 9)"),
    body("signal to the parent", "os.kill(os.getppid() or 2, 9)"),
    body("signal to the group", "os.kill(0, 9)"),
    body("signal through a descriptor", "import signal\nsignal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0)"),
    body("signals by descriptor owner", "import fcntl\nfcntl.fcntl(0, 8, 1)"),
    body(
        "raised limits",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nreturn 1",
        r"ValueError|PermissionError",
    ),
    body("another's limits", "import resource\nreturn resource.prlimit(os.getppid() or 2, resource.RLIMIT_CPU)"),
    body("priority", "os.setpriority(os.PRIO_PROCESS, 0, -5)"),
    body("scheduler", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    body("processor", "os.sched_setaffinity(0, {0})"),
]

KERNEL = [
    body("keyctl", "return call(250, 0, 0, 0, 0)"),
    body("add_key", "return call(248, b'user', b'x', b'x', 1, -2)"),
    body("io_uring", "return call(425, 8, bytes(120))"),
    body("userfaultfd", "return call(323, 0)"),
    body("perf events", "return call(298, bytes(120), 0, -1, -1, 0)"),
    body("bpf", "return call(321, 0, bytes(120), 120)"),
    body("unshare", "return call(272, 0x10000000)"),
    body("setns", "return call(308, 0, 0)"),
    body("mount", "return call(165, b'none', b'/tmp', b'tmpfs', 0, 0)"),
    body("umount", "return call(166, b'/tmp', 2)"),
    body("chroot", "os.chroot('.')"),
    body("pivot_root", "return call(155, b'.', b'.')"),
    body("setuid 0", "os.setuid(0)"),
    body("setresuid 0", "os.setresuid(0, 0, 0)"),
    body("capabilities", "return call(126, (0x20080522).to_bytes(4, 'little') + bytes(4), b'\\xff' * 24)"),
    body("open_by_handle_at", "return call(304, -100, bytes(64), 0)"),
    body("writable and executable memory", "import mmap\nmmap.mmap(-1, 4096, prot=7)"),
    body("executable memory", "import mmap\nmmap.mmap(-1, 4096, prot=5)"),
    body(
        "memory made executable",
        "page = libc.mmap\npage.restype = ctypes.c_void_p\n"
        "address = page(None, 4096, 3, 0x22, -1, 0)\nreturn call(10, address, 4096, 5)",
    ),
    body("memfd", "return os.memfd_create('x')"),
    body("System V shared memory", "return call(29, 0, 4096, 0o1600)"),
    body("System V queues", "return call(68, 0, 0o1600)"),
    body("personality", "return call(135, 0x0400000)"),
    body("ptrace", "return call(101, 0, 0, 0, 0)"),
    body("another filter", "return call(317, 0, 0, 0)"),
    body("dumpable again", "return call(157, 4, 1, 0, 0, 0)"),
    body("a name space through prctl", "return call(157, 38, 1, 0, 0, 0)"),
    body("32-bit calls of x32", "return call(0x40000000 + 39)"),
    body("clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)"),
    body("host name", "import socket\nsocket.sethostname('x')"),
    body("quota of descriptors by ioctl", "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')"),
    body("kernel log", "return call(103, 3, bytes(64), 64)"),
    body("modules", "return call(313, 0, b'', 0)"),
    body("reboot", "return call(169, 0xfee1dead, 672274793, 0, 0)"),
    body("swap", "return call(167, b'x', 0)"),
]
