"""Programs that hang, crash or use too much."""

from __future__ import annotations

from sandbox.catalogue.cases import Entry, Kind, text
from sandbox.contract import Limits, Status

SHORT = Limits(cpu_seconds=0.25, wall_seconds=1.5)
TIMEOUT, ERROR, MEMORY, OUTPUT, FAIL, PASS = (
    Status.TIMEOUT, Status.ERROR, Status.MEMORY, Status.OUTPUT, Status.FAIL, Status.PASS,
)  # fmt: skip


def ends(
    name: str, program: str, *truth: Status, test: str = "f()", limits: Limits = SHORT, says: str = "",
    kind: Kind = Kind.HANG, screen: tuple[Status, ...] = (),
) -> Entry:  # fmt: skip
    """`truth` holds in every tier, unless the screen's own is given."""
    split = frozenset(truth)
    return Entry(name, kind, text(program) + "\n", (text(test),), frozenset(screen) or split, split, limits, says)


HANGS: list[Entry] = [
    ends("loop at import", "while True: pass", TIMEOUT),
    ends(
        "loop in f",
        """
        def f():
            while True: pass
        """,
        TIMEOUT,
    ),
    ends(
        "loop that ignores SIGALRM",
        """
        import signal
        signal.signal(14, signal.SIG_IGN)
        def f():
            while True: pass
        """,
        TIMEOUT,
    ),
    ends(
        "loop with all signals blocked",
        """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
        def f():
            while True: pass
        """,
        TIMEOUT,
    ),
    ends(
        "loop that catches everything",
        """
        def f():
            while True:
                try:
                    while True: pass
                except BaseException: pass
        """,
        TIMEOUT,
    ),
    ends(
        "loop in a thread",
        """
        import threading
        def spin():
            while True: pass
        def f():
            threading.Thread(target=spin, daemon=True).start()
            threading.Event().wait()
        """,
        TIMEOUT,
    ),
    ends(
        "endless sleep",
        """
        import time
        def f(): time.sleep(1e6)
        """,
        TIMEOUT,
    ),
    ends(
        "deadlock",
        """
        import threading
        lock = threading.Lock()
        def f():
            lock.acquire(); lock.acquire()
        """,
        TIMEOUT,
    ),
    ends("input", "def f(): return input()", ERROR, says="EOFError"),
    ends(
        "input at import",
        """
        n = int(input())
        def f(): return n
        """,
        ERROR,
    ),
    ends(
        "catastrophic regular expression",
        """
        import re
        def f(): return re.match(r'(a+)+$', 'a' * 40 + 'b')
        """,
        TIMEOUT,
    ),
    ends("huge integer to text", "def f(): return str(10 ** 10_000_000)", ERROR, TIMEOUT),
    ends("huge power", "def f(): return 9 ** 9 ** 9", TIMEOUT, MEMORY),
    ends("unlimited recursion", "def f(): return f()", ERROR),
    ends(
        "recursion without a limit",
        """
        import sys
        sys.setrecursionlimit(10 ** 9)
        def f(): return [*map(lambda _: f(), [1])]
        """,
        ERROR,
        MEMORY,
        TIMEOUT,
    ),
    ends(
        "NULL dereference",
        """
        import ctypes
        def f(): return ctypes.string_at(0)
        """,
        ERROR,
    ),
    ends(
        "abort",
        """
        import os
        def f(): os.abort()
        """,
        ERROR,
        TIMEOUT,
    ),
    ends(
        "stops itself",
        """
        import os, signal, time
        def f():
            os.kill(os.getpid(), signal.SIGSTOP); time.sleep(9)
        """,
        TIMEOUT,
    ),
    ends(
        "closes every descriptor",
        """
        import os
        def f(): os.closerange(0, 256)
        """,
        ERROR,
    ),
    ends(
        "floods every descriptor",
        """
        import os
        def f():
            while True:
                for number in range(64):
                    try: os.write(number, bytes(65536))
                    except OSError: pass
        """,
        OUTPUT,
        ERROR,
        TIMEOUT,
    ),
    ends(
        "lingering thread",
        """
        import threading, time
        threading.Thread(target=time.sleep, args=(99,)).start()
        def f(): return 1
        """,
        PASS,
        test="assert f() == 1",
    ),
    ends("100,000 nested parentheses", "(" * 100_000 + ")" * 100_000, ERROR, MEMORY),
    ends("100,000 unary operators", "x = " + "-" * 100_000 + "1", ERROR, MEMORY),
    ends("a null character", "x = 1\0", ERROR),
]

TOO_MUCH: list[Entry] = [
    ends("700 MB", "def f(): return len(bytearray(700 << 20))", MEMORY, kind=Kind.PROCESS),
    ends("700 MB at import", "x = [0] * (90 << 20)", MEMORY),
    ends(
        "700 MB, shared",
        """
        import mmap
        def f(): mmap.mmap(-1, 700 << 20)
        """,
        ERROR,
        MEMORY,
    ),
    ends(
        "memory in small pieces",
        """
        def f():
            x = []
            while True: x.append(bytes(100_000))
        """,
        MEMORY,
        TIMEOUT,
        limits=Limits(memory_mb=200),
    ),
    ends(
        "400 threads",
        """
        import threading, time
        def f():
            for _ in range(400): threading.Thread(target=time.sleep, args=(5,)).start()
        """,
        ERROR,
        MEMORY,
        kind=Kind.PROCESS,
    ),
    ends(
        "endless output",
        """
        def f():
            while True: print('x' * 1000)
        """,
        OUTPUT,
        limits=Limits(cpu_seconds=5.0),
    ),
    ends(
        "endless error output",
        """
        import sys
        def f():
            while True: sys.stderr.write('x' * 1000)
        """,
        OUTPUT,
        limits=Limits(cpu_seconds=5.0),
    ),
    ends(
        "output through the descriptor",
        """
        import os
        def f():
            while True: os.write(1, bytes(4096))
        """,
        OUTPUT,
        limits=Limits(cpu_seconds=5.0),
    ),
    ends("50 MB exception message", "def f(): raise ValueError('x' * 50_000_000)", ERROR, limits=Limits()),
    ends(
        "50 MB result",
        "def f(): return 'x' * 50_000_000",
        ERROR,
        test="assert f() == 1",
        limits=Limits(),
        screen=(FAIL,),
    ),
    ends(
        "10 million elements",
        "def f(): return [0] * 10_000_000",
        ERROR,
        TIMEOUT,
        MEMORY,
        test="assert f() == 1",
        screen=(
            FAIL,
            TIMEOUT,
            MEMORY,
        ),
    ),
    ends(
        "deeply nested result",
        """
        def f():
            x = []
            for _ in range(100_000): x = [x]
            return x
        """,
        ERROR,
        test="assert f() == 1",
        screen=(FAIL,),
    ),
    ends(
        "self-referential result",
        """
        def f():
            x = []; x.append(x)
            return x
        """,
        PASS,
        test="""
        x = f()
        assert x[0] is x
        """,
    ),
]

EVIL_TEXTS: list[Entry] = [
    ends(
        "__str__ of an exception raises",
        """
        class E(Exception):
            def __str__(self): raise SystemExit(0)
            __repr__ = __str__
        def f(): raise E
        """,
        ERROR,
    ),
    ends(
        "__repr__ exits",
        """
        import os
        class C:
            def __repr__(self): os._exit(0)
        def f(): return C()
        """,
        FAIL,
        test="assert f() == 1",
    ),
    ends(
        "__repr__ loops",
        """
        class C:
            def __repr__(self):
                while True: pass
        def f(): return C()
        """,
        FAIL,
        test="assert f() == 1",
    ),
    ends(
        "__del__ exits",
        """
        import os
        class C:
            def __del__(self): os._exit(0)
        def f(): C()
        """,
        ERROR,
    ),
    ends(
        "metaclass __name__ raises",
        """
        class M(type):
            @property
            def __name__(cls): raise SystemExit(0)
        class C(metaclass=M): pass
        def f(): return C()
        """,
        FAIL,
        test="assert f() == 1",
    ),
    ends(
        "exception class with an evil metaclass",
        """
        class M(type):
            def __getattribute__(cls, name): raise SystemExit(0)
        class E(Exception, metaclass=M): pass
        def f(): raise E
        """,
        ERROR,
    ),
    ends(
        "__hash__ raises",
        """
        class C:
            def __hash__(self): raise SystemExit(0)
        def f(): return C()
        """,
        ERROR,
        test="{f(): 1}",
    ),
    ends(
        "__eq__ loops",
        """
        class C:
            def __eq__(self, other):
                while True: pass
        def f(): return C()
        """,
        FAIL,
        test="assert f() == 1",
        screen=(TIMEOUT,),
    ),
    ends(
        "__getattr__ gives everything",
        """
        class C:
            def __getattr__(self, name): return self
        def f(): return C()
        """,
        FAIL,
        test="assert f() == 1",
    ),
]

UNRULY = HANGS + TOO_MUCH + EVIL_TEXTS
