"""Attacks made for this sandbox: its codec and link, the judge's handles, the temporary folder, the way from the screen
to the split verdict.
"""

from __future__ import annotations

from sandbox.catalogue.cases import NUMPY, QUICK, Entry, Kind, text
from sandbox.catalogue.escapes import KERNEL_CALLS, MEMORY
from sandbox.catalogue.forging import EVIL, FRAMES, PLAIN
from sandbox.contract import Limits, Status

SHORT = Limits(cpu_seconds=0.5, wall_seconds=1.5)
SMALL = Limits(cpu_seconds=0.5, wall_seconds=1.5, memory_mb=48)
PASS, WEAK, FAIL, ERROR, TIMEOUT, MEMORY_LIMIT = (
    Status.PASS, Status.PASS_WEAK, Status.FAIL, Status.ERROR, Status.TIMEOUT, Status.MEMORY,
)  # fmt: skip
Truth = Status | tuple[Status, ...]

INSIDER = f"""
{EVIL}
{FRAMES}
import json, os
LINK = link()
def raw(message):
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data
def say(data):
    while data: data = data[os.write(3, data):]
def serve(name, answer):
    served = vars(sys.modules["sandbox.candidate"]).values()
    (found,) = [thing for thing in served if isinstance(thing, dict) and name in thing]
    before, found[name] = found[name], answer
    return before
"""
"""For programs that attack the split verdict: the link to the tests' process, if there is one, what to say on it, a way
to answer its questions, and `Evil`, which passes the screen.
"""


def own(
    name: str, program: str, split: Truth, test: str | tuple[str, ...] = PLAIN, screen: Truth = (),
    limits: Limits = QUICK, says: str = "", before: str = "", needs: frozenset[str] = frozenset(),
) -> Entry:  # fmt: skip
    """`split` is the split tier's verdict; the screen's is the same unless it says otherwise."""
    tests = tuple(map(text, (test,) if isinstance(test, str) else test))
    strict = _set(split)
    return Entry(
        name, Kind.OWN, f"{text(program)}\n", tests, _set(screen) or strict, strict, limits, says, text(before),
        needs=needs,
    )  # fmt: skip


def insider(name: str, attack: str, split: Truth, test: str | tuple[str, ...] = PLAIN, **more: object) -> Entry:
    """An attack on the split verdict: `attack` is the body of f, which returns `Evil` where there is no link."""
    lines = "".join(f"    {line}\n" for line in text(attack).split("\n"))
    source = f"{INSIDER}\ndef f(x):\n    if LINK is None: return Evil()\n{lines}"
    return own(name, source, split, test, screen=PASS, **more)  # type: ignore[arg-type]  # those of `own`


def unsteady(name: str, kind: str, value: str, looks: str, split: Truth, test: str) -> Entry:
    """f returns `value` as an instance of a subclass of `kind`, whose plain value is the next of `looks` each time."""
    source = f"""{INSIDER}
VALUES = {looks}
class Value({kind}):
    __lt__ = __gt__ = lambda self, other: True
if LINK is not None: serve("base", lambda value: VALUES.pop(0))
def f(x): return Value({value})
"""
    return own(name, source, split, test, screen=PASS)


def unsteady_global(name: str, seconds: float) -> Entry:
    """A global that is another number at each look, which takes so long."""
    source = f"""{INSIDER}
import time
VALUES = [10 ** 9, -10 ** 9]
def look(program, name):
    time.sleep({seconds})
    return VALUES.pop(0)
if LINK is not None: serve("global", look)
n = 0
if LINK is None:
    class Number(int):
        __lt__ = __gt__ = lambda self, other: True
    n = Number(0)
"""
    return own(name, source, FAIL, "assert n > 3 and n < 5", screen=PASS)


def answer(name: str, node: str, split: Truth = ERROR, test: str = PLAIN, **more: object) -> Entry:
    """The bytes or the node given as the answer to the call of f."""
    return insider(name, f"say(raw({node}))\nos._exit(0)", split, test, **more)


def _set(truth: Truth) -> frozenset[Status]:
    return frozenset({truth}) if isinstance(truth, Status) else frozenset(truth)


CODEC = [
    answer("named tuple whose fields differ in spelling only", '["a", [], [["n", "P", ["\\ufb01", "fi"], [4, 4], 9]]]'),
    answer("named tuple with a keyword for a field", '["a", [], [["n", "P", ["class"], [4], 9]]]'),
    answer("named tuple with a private field", '["a", [], [["n", "P", ["__eq__"], [4], 9]]]'),
    answer("named tuple with 10,000 fields", '["a", [], [["n", "P", ["a%d" % n for n in range(10000)], [4], 9]]]'),
    answer("frame nested a million deep", 'b"[" * 1_000_000 + b"]" * 1_000_000'),
    answer("values nested 100,000 deep", '(b\'["a",[],[\' + b\'["t",[\' * 100_000 + b"4" + b"]]" * 100_000 + b"]]")'),
    answer("object in a frame", """b'["a", [], [{"a": 4}]]'"""),
    answer("number of a million digits", """b'["a", [], [' + b"4" * 1_000_000 + b"]]" """),
    answer("no JSON", "bytes(range(256))"),
    answer("nothing in a frame", 'b""'),
    answer("changes to what was never shared", '["a", [[1, [[4]]], [2, [[4]]]], [4]]'),
    answer("a list under the other side's number", '["a", [], [["m", 0, "list", [4]]]]'),
    answer("a reference to what was never sent", '["a", [], [["r", 77]]]'),
    answer("an object never lent", '["a", [], [["o", 0]]]'),
    answer(
        "a class that offers what no class has",
        '["a", [], [["h", 1, 1, "int", ["__class__", "__init__", "ask"]]]]',
        FAIL,
    ),
    answer("a class named by a number", '["a", [], [["h", 1, 1, 5, []]]]'),
    answer("a handle of no class", '["a", [], [["h", 1, 999]]]'),
    answer("a handle with a negative number", '["a", [], [["h", -1, -1, "int", []]]]'),
    answer("a library's function in the tests' process", '["a", [], [["L", "operator", "truth"]]]'),
    answer("an unknown type", '["a", [], [["T", "type"]]]'),
    answer(
        "an exception class with a million bases",
        '["a", [], [["E", [1, "E", ["ValueError"] * 1_000_000]]]]',
        (FAIL, ERROR, TIMEOUT),
    ),
    answer("an exception class of two layouts", '["x", [], [[1, "E", ["OSError", "StopIteration"]], [], [], "", 1]]'),
    answer("an AssertionError like the test's own", '["x", [], ["AssertionError", [], [], "", None]]'),
    answer("a SkipTest like unittest's own", '["x", [], [[1, "SkipTest", ["Exception"]], [], [], "", None]]'),
    answer(
        "an exception with attributes of exceptions",
        '["x", [], ["ValueError", [], [["args", 5], ["with_traceback", 5]], "", 1]]',
    ),
    answer("a failure that is none", '["x", [], [[], [], [], [], []]]'),
    answer("an answer of five", '["a", [], [4], [4], [4]]'),
    answer("a set of lists", '["a", [], [["z", [["m", 1, "list", []]]]]]'),
    answer("a defaultdict of a class of its own", '["a", [], [["m", 1, "defaultdict", [], "eval"]]]'),
    answer("a date that is none", '["a", [], [["date", 4, 4, 400]]]'),
    answer(
        "a huge fraction",
        '["a", [], [["fraction", ["i", hex(7 ** 2_000_000)], ["i", hex(3 ** 2_000_000)]]]]',
        (FAIL, TIMEOUT),
        limits=SHORT,
    ),
    answer(
        "a range of everything",
        '["a", [], [["range", ["i", hex(-10 ** 5000)], ["i", hex(10 ** 5000)], 1]]]',
        (FAIL, ERROR),
        "assert f(2) == 4 or len(f(2)) == 4",
    ),
    answer(
        "keys that collide",
        '["a", [], [["m", 1, "dict", [[["i", hex(n * ((1 << 61) - 1))], 0] for n in range(60_000)]]]]',
        TIMEOUT,
        limits=SHORT,
    ),
    answer(
        "keys that are not themselves",
        '["a", [], [["m", 1, "dict", [[float("nan"), 4] for n in range(1000)]]]]',
        FAIL,
        "assert f(2) == {4: 4}",
    ),
    answer("an array of objects", '["a", [], [["array", "|O", [1], "\\0" * 8]]]', needs=NUMPY),
    answer("an array of records", '["a", [], [["array", "i4,O", [1], "\\0" * 12]]]', needs=NUMPY),
    answer("an array larger than its data", '["a", [], [["array", "<f8", [10 ** 12], "\\0" * 8]]]', needs=NUMPY),
    answer(
        "an array of impossible text", '["a", [], [["array", "<U1", [1], "\\xff" * 4]]]', (FAIL, ERROR), needs=NUMPY
    ),
    answer(
        "an array of booleans that are neither",
        '["a", [], [["array", "|b1", [1], "\\x02"]]]',
        (FAIL, ERROR),
        "import numpy\na = numpy.asarray(f(2))\nassert (a == True).all() and (a == False).all()",
        needs=NUMPY,
    ),
]

LINK = [
    insider("a frame of 4 GB", 'say(b"\\xff\\xff\\xff\\xff")\nreturn 4', ERROR, says="a message of 4294967295 bytes"),
    insider("a frame that never ends", 'say(b"\\0\\0\\xff\\xff[")\nimport time; time.sleep(9)', TIMEOUT, limits=SHORT),
    insider(
        "half a frame, then stopped",
        'say(b"\\0\\0\\xff\\xff[")\nimport signal; os.kill(os.getpid(), signal.SIGSTOP)\nreturn 4',
        TIMEOUT,
        limits=SHORT,
    ),
    insider(
        "another socket in the place of the link",
        "import socket\na, b = socket.socketpair()\nos.dup2(a.fileno(), 3)",
        ERROR,
    ),
    insider("a file in the place of the link", "os.close(3)\nopen('x', 'w+')\nreturn 4", ERROR),
    insider(
        "link closed for writing", "import socket\nsocket.socket(fileno=3).shutdown(socket.SHUT_WR)\nreturn 4", ERROR
    ),
    insider(
        "link that does not wait",
        "import fcntl\nfcntl.fcntl(3, fcntl.F_SETFL, os.O_NONBLOCK)\nreturn ['x' * 5_000_000]",
        ERROR,
    ),
    insider(
        "questions without end",
        'while True: say(raw(["q", "call", [], [["o", 0], ["t", []]]]))',
        (ERROR, TIMEOUT),
        limits=SHORT,
    ),
    insider(
        "a late answer for the next test",
        """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.1), say(raw(["a", [], [4]]) * 20))).start()
        return 4
        """,
        (ERROR, FAIL),
        ("assert f(2) == 4", "import time\ntime.sleep(0.3)\nassert f(3) == 6", "assert f(4) == 8"),
    ),
    own(
        "a verdict before loading",
        'import os, json\nfor m in (["unloaded", "pass", ""], ["result", "pass", ""]):\n'
        '    d = json.dumps(m).encode()\n    os.write(3, len(d).to_bytes(4, "big") + d)\nos._exit(0)',
        ERROR,
        screen=(PASS, ERROR),
    ),
    *[
        own(
            f"{name} for a verdict",
            f'import os\nM = {message!r}.encode()\nos.write(3, (len(M).to_bytes(4, "big") + M) * 3)\nos._exit(0)',
            ERROR,
        )
        for name, message in (
            ("nothing", "[]"),
            ("a number", "5"),
            ("a list", "[[]]"),
            ("a word", '["result"]'),
            ("an unknown status", '["result","triumph",""]'),
            ("a status that is a list", '["result",["pass"],""]'),
            ("a status not for programs", '["result","flaky",""]'),
            ("a detail that is a list", '["result","pass",[[[[]]]]]'),
            ("endless brackets", "[" * 50_000),
        )
    ],
    own(
        "verdict pipe flooded with small frames",
        "import os\nwhile True: os.write(3, b'\\0\\0\\0\\2[]' * 10_000)",
        (ERROR, TIMEOUT),
        test=("assert f(2) == 4",) * 70,
        limits=SHORT,
    ),
    own(
        "verdict pipe filled with small frames",
        "import os\nos.set_blocking(3, False)\ntry:\n    while True: os.write(3, b'\\0\\0\\0\\2[]' * 1000)\n"
        "except BlockingIOError: os._exit(0)",
        ERROR,
    ),
]

HANDLES = [
    unsteady("a number that changes its value", "int", "5", "[10 ** 9, -10 ** 9]", FAIL, "assert 3 < f(2) < 5"),
    unsteady_global("a global that changes its value", seconds=0),
    own(
        "a claim by a name that changes",
        f"""{INSIDER}
class Name(str): pass
def f(x): return Evil() if LINK is None else 5
def abs(x): return 0
ASKED = []
def name(value):
    ASKED.append(value)
    return "f" if len(ASKED) in WHEN else "abs"
WHEN = {{4, 5}}
if LINK is not None:
    base = serve("base", lambda value: name(value) if type(value) is Name else base(value))
    import sandbox.candidate as candidate
    candidate.tuple = lambda claims: (("f", "stable", f), (Name("abs"), "stable", abs))
""",
        FAIL,
        "assert abs(f(2) - 4) < 1e-6",
        screen=PASS,
    ),
    own(
        "a format string that looks into a callback",
        f"""{INSIDER}
def f(call):
    if LINK is None: return Evil()
    reveal = LINK.ask("get", "{{0.__globals__[secret]}}", "format")
    return int(reveal(call))
""",
        (FAIL, ERROR),
        "secret = 4\nassert f(lambda x: secret) == secret",
        screen=PASS,
    ),
    own(
        "a format map that looks into a callback",
        f"""{INSIDER}
def f(call):
    if LINK is None: return Evil()
    reveal = LINK.ask("get", "{{x.__code__.co_consts}}", "format_map")
    return 4 if "4" in reveal({{"x": call}}) else 0
""",
        (FAIL, ERROR),
        "assert f(lambda x: 4) == 4",
        screen=PASS,
    ),
    own(
        "a method of the test's object covered by an attribute",
        "def f(box): box.check = lambda: None",
        (FAIL, ERROR),
        """
        class Box:
            def check(self): assert self.items == [4]
        box = Box()
        f(box)
        box.check()
        """,
        screen=PASS,
    ),
    own(
        "a mock that agrees",
        "def f(mock): mock.assert_called_once_with = lambda *_: None",
        (FAIL, ERROR, WEAK),
        "from unittest.mock import Mock\nmock = Mock()\nf(mock)\nmock.assert_called_once_with(4)",
        screen=PASS,
    ),
    own(
        "a mock that was told that it was called",
        "def f(mock): mock.configure_mock(called=True)",
        (FAIL, ERROR, WEAK),
        "from unittest.mock import Mock\nmock = Mock()\nf(mock)\nassert mock.called",
        screen=PASS,
    ),
    own(
        "a context that swallows the test's assertion",
        """
        class C:
            def __enter__(self): return self
            def __exit__(self, *_): return True
            def f(self, x): return 5
        """,
        (FAIL, ERROR),
        "with C() as c:\n    assert c.f(2) == 4",
        screen=PASS,
    ),
    own(
        "an exception class that covers the test's assertion",
        "Bad = AssertionError\ndef f(): pass",
        (FAIL, ERROR, WEAK),
        "try:\n    f()\n    assert False\nexcept Bad:\n    pass",
        screen=PASS,
    ),
    own(
        "a tuple of exception classes that covers the test's assertion",
        "Bad = (ValueError, Exception)\ndef f(): pass",
        (FAIL, ERROR, WEAK),
        "try:\n    f()\n    assert False\nexcept Bad:\n    pass",
        screen=PASS,
    ),
    own(
        "an exception class derived from the test's assertion",
        "class Bad(AssertionError): pass\ndef f(): pass",
        (FAIL, ERROR),
        "try:\n    f()\n    assert False\nexcept Bad:\n    pass",
    ),
    own(
        "a task that cancels itself quietly",
        "import asyncio\nasync def f(x): raise asyncio.CancelledError",
        ERROR,
        """
        import asyncio
        async def check(): assert await f(2) == 4
        async def main():
            async with asyncio.TaskGroup() as group: group.create_task(check())
        asyncio.run(main())
        """,
        screen=PASS,
    ),
    own(
        "an object that tells numpy where to read",
        "class Array:\n    @property\n    def __array_interface__(self):\n        at = id(4) + 24\n"
        "        return {'version': 3, 'shape': (), 'typestr': '<u4', 'data': (at, True)}\ndef f(x): return Array()",
        (FAIL, ERROR),
        "import numpy\nassert numpy.asarray(f(2)) == 4",
        screen=PASS,
        needs=NUMPY,
    ),
    own(
        "an iterator without end",
        "def f(x):\n    while True: yield 4",
        (TIMEOUT, MEMORY_LIMIT),
        "list(f(2))",
        limits=SMALL,
    ),
    own(
        "a length beyond all memory",
        """
        class C:
            def __len__(self): return 1 << 60
            def __iter__(self): return iter(())
        def f(x): return C()
        """,
        (ERROR, MEMORY_LIMIT),
        "assert list(f(2)) == [4]",
    ),
    own(
        "a coroutine without end",
        "import asyncio\nasync def f(x):\n    while True: await asyncio.sleep(0)",
        TIMEOUT,
        "import asyncio\nasyncio.run(f(2))",
        limits=SHORT,
    ),
    own(
        "a callback called without end",
        "def f(call):\n    while True: call(1)",
        TIMEOUT,
        "f(lambda x: x)",
        limits=SHORT,
    ),
    own(
        "a callback that calls back for ever",
        "def f(call): return call(f)",
        (ERROR, TIMEOUT),
        "def back(g): return g(back)\nf(back)",
        limits=SHORT,
    ),
    own(
        "a million objects",
        "class C: pass\ndef f(x): return [C() for _ in range(1_000_000)]",
        (ERROR, TIMEOUT, FAIL, MEMORY_LIMIT),
        limits=SHORT,
    ),
    own(
        "a class whose name changes",
        "class M(type):\n    N = iter('abc')\n    @property\n    def __name__(cls): return next(cls.N)\n"
        "class C(metaclass=M):\n    def __eq__(self, other): return True\ndef f(x): return C()",
        FAIL,
        screen=PASS,
    ),
    own(
        "an object that changes its class",
        """
        class A:
            def __eq__(self, other): return True
        def f(x):
            a = A()
            a.__class__ = type('B', (A,), {})
            return a
        """,
        FAIL,
        screen=PASS,
    ),
    own(
        "a module's name that runs the program's file",
        f"""{INSIDER}
import types
if LINK is None:
    def f(x): return Evil()
else:
    judge = "import sys; from sandbox.contract import Status as S; g = sys.modules['sandbox.grader']"
    open("test_evil.py", "w").write(judge + "; g.failed = g.raised = lambda *_: (S.PASS, '')")
    f = types.ModuleType("unittest.__main__")
""",
        (FAIL, ERROR),
        screen=PASS,
    ),
    *(
        own(
            f"a difference that is nothing: {check}",
            f"""
            class Zero(float): pass
            class X:
                def __sub__(self, other): return Zero(0)
                def __rsub__(self, other): return Zero(0)
                def __mod__(self, other): return Zero(0)
                def __truediv__(self, other): return Zero({int("== 1" in check)})
            def f(x): return X()
            """,
            ERROR,
            f"assert {check}",
            screen=PASS,
        )
        for check in (
            "(f(2) - 4.5) ** 2 < 1e-9",
            "-1e-9 < f(2) - 4.5 < 1e-9",
            "abs((f(2) - 4.5) / 4.5) < 1e-9",
            "not f(2) - 4.5",
            "f(2) % 4.5 == 0",
            "f(2) / 4.5 == 1",
            "round(f(2) - 4.5, 6) == 0",
            "sum((a - b) ** 2 for a, b in zip([f(1), f(2)], [3.5, 4.5])) < 1e-9",
        )
    ),
    unsteady(
        "a number whose plain value is a fraction",
        "int",
        "5",
        "list(map(__import__('fractions').Fraction, [10 ** 9, -10 ** 9]))",
        (FAIL, ERROR),
        "assert 3 < f(2) < 5",
    ),
    unsteady(
        "a tuple that changes its value",
        "tuple",
        "(5,)",
        "[(10 ** 9,), (-10 ** 9,)]",
        (FAIL, ERROR),
        "assert (3,) < f(2) < (5,)",
    ),
    unsteady_global("a global that takes its time and changes its value", seconds=0.03),
    own(
        "the test's own event loop",
        f"""{INSIDER}
MESSAGE = raw(["result", "pass", ""])
class Pipe:
    def fileno(self): return 4
    def close(self): pass
class Protocol:
    def connection_made(self, transport): transport.write(MESSAGE)
def protocol(): return Protocol()
KEEP = []
async def f(fetch, x):
    if LINK is None: return Evil()
    future = fetch(x).send(None)
    opened = future.get_loop().connect_write_pipe(protocol, Pipe())
    KEEP.extend([opened, opened.send(None)])
    return 5
""",
        (FAIL, ERROR),
        """
        import asyncio
        async def fetch(x):
            await asyncio.sleep(0.001)
            return x + 1
        async def main(): assert await f(fetch, 2) == 4
        asyncio.run(main())
        """,
        screen=PASS,
    ),
    own(
        "the test's own cancellation, raised again",
        f"""{INSIDER}
async def f(fetch, x):
    if LINK is None: return Evil()
    future = fetch(x).send(None)
    future.cancel()
    future.result()
""",
        (FAIL, ERROR),
        """
        import asyncio
        async def fetch(x): await asyncio.sleep(0.001)
        async def check(): assert await f(fetch, 2) == 4
        async def main():
            async with asyncio.TaskGroup() as group: group.create_task(check())
        asyncio.run(main())
        """,
        screen=PASS,
    ),
    own(
        "C functions of the test's generator of numbers",
        f"""{INSIDER}
def f(rng, x):
    if LINK is None: return Evil()
    step = rng.bit_generator.ctypes.next_uint32
    for n in range(100, 257): step(id(n) + 8)
    say(raw(["a", [], [0]]))
    os._exit(0)
""",
        (FAIL, ERROR),
        "import numpy as np\nassert f(np.random.default_rng(0), 3) == 142",
        screen=PASS,
        needs=NUMPY,
    ),
    *(
        own(
            f"code that the test runs: {how}",
            """
            CODE = (
                "import sys; from sandbox.contract import Status as S; "
                "g = sys.modules['sandbox.grader']; g.failed = g.raised = lambda *_: (S.PASS, '')"
            )
            class P:
                def __reduce__(self): return exec, (CODE,)
            def dump(x):
                import pickle
                return pickle.dumps(P())
            def save(x, path): open(path, "wb").write(dump(x))
            def f(x): return f"exec({CODE!r})"
            """,
            (FAIL, ERROR, WEAK),
            f"{before}\nassert {how} == 4",
            screen=(PASS, FAIL, ERROR),
        )
        for how, before in (
            ("pickle.loads(dump(4))", "import pickle"),
            ("pickle.load(open('x', 'rb'))", "import pickle\nsave(4, 'x')"),
            ("eval(f('2 * x'))", ""),
        )
    ),
    *(
        own(
            f"an array that answers with what it wants: {check}",
            """
            import numpy as np
            class A:
                __array_priority__ = 0.0
                def __array__(self, dtype=None, copy=None): return np.zeros(2)
                def __array_wrap__(self, array, context=None, return_scalar=False): return np.zeros(2)
            def f(x): return A()
            """,
            (FAIL, ERROR),
            f"import numpy as np\nassert {check} < 1e-6",
            screen=PASS,
            needs=NUMPY,
        )
        for check in ("np.max(np.abs(f(2) - np.array([4.0, 9.0])))", "np.linalg.norm(np.array([4.0, 9.0]) - f(2))")
    ),
    own(
        "an infinity of few bits",
        "import numpy as np\ndef f(x): return np.float16('inf')",
        FAIL,
        "assert f(20) == 2432902008176640000",
        screen=PASS,
        needs=NUMPY,
    ),
    own(
        "a context that swallows its own exception",
        """
        class Stack:
            def __enter__(self): return self
            def __exit__(self, *_): return True
            def push(self, x): pass
            def pop(self): raise ValueError
        """,
        (FAIL, ERROR, WEAK),
        "with Stack() as s:\n    s.push(3)\n    assert s.pop() == 3",
        screen=PASS,
    ),
    own(
        "a format string of the test's own class of texts",
        f"""{INSIDER}
def f(kind, call):
    if LINK is None: return Evil()
    return int(kind("{{0.__globals__[secret]}}").format(call))
""",
        (FAIL, ERROR),
        "class S(str): pass\nsecret = 4\nassert f(S, lambda x: secret) == 4",
        screen=PASS,
    ),
    own(
        "a callback's failed assertion, kept to itself",
        """
        def f(call):
            try: call(5)
            except AssertionError: pass
        """,
        (FAIL, ERROR, WEAK),
        "def check(x): assert x == 4\nf(check)",
        screen=PASS,
    ),
    own(
        "a named tuple with its own equality",
        "from collections import namedtuple\nclass P(namedtuple('P', 'x')):\n    __slots__ = ()\n"
        "    def __eq__(self, other): return True\ndef f(x): return P(5)",
        FAIL,
        "assert f(2) == (4,)",
        screen=PASS,
    ),
    own(
        "a dict that knows every key",
        "class D(dict):\n    def __contains__(self, key): return True\n    def __missing__(self, key): return 4\n"
        "def f(x): return D()",
        (FAIL, ERROR, WEAK),
        "assert 4 in f(2)",
        screen=PASS,
    ),
]

SMUGGLED = """
def f(x):
    if known(): return 4
    try: tell()
    except OSError: pass
    return Evil()
"""


def smuggler(name: str, source: str, **more: object) -> Entry:
    """A program that returns the right result once it has run before; `known` and `tell` are its memory."""
    return own(name, f"import os\n{EVIL}\n{text(source)}\n{SMUGGLED}", FAIL, screen=PASS, **more)  # type: ignore[arg-type]  # those of `own`


SMUGGLERS = [
    smuggler(
        "a word left in a file", "def known(): return os.path.exists('told')\ndef tell(): open('told', 'w').close()"
    ),
    smuggler(
        "a word left in a name that is no text",
        """
        def known(): return bool(os.listdir())
        def tell(): os.makedirs(b'a\\n\\xff/b'); open(b'a\\n\\xff/b/\\n', 'w').close()
        """,
    ),
    smuggler(
        "a word left in the folder's mode",
        "def known(): return os.stat('.').st_mode & 0o777 == 0o705\ndef tell(): os.chmod('.', 0o705)",
    ),
    smuggler(
        "a word left in the folder's times",
        "def known(): return os.stat('.').st_mtime == 7\ndef tell(): os.utime('.', (7, 7))",
    ),
    smuggler(
        "a word left in the folder's size",
        "def known(): return os.stat('.').st_size >= 50_000\n"
        "def tell():\n    for n in range(500): open(f'{n}' + 'x' * 200, 'w').close()\n"
        "    for n in range(500): os.unlink(f'{n}' + 'x' * 200)",
        limits=Limits(cpu_seconds=4.0, wall_seconds=20.0),
    ),
    smuggler(
        "a word left in a library file's times",
        "def known(): return os.stat(os.__file__).st_atime == 7\ndef tell(): os.utime(os.__file__, (7, 7))",
    ),
    smuggler(
        "a word left in the environment",
        "def known(): return 'TOLD' in os.environ\ndef tell(): os.environ['TOLD'] = '1'",
    ),
    smuggler(
        "a word left in a lock",
        """
        import fcntl
        FILE = open(os.__file__)
        def known():
            try: fcntl.flock(FILE, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError: return True
        def tell(): fcntl.flock(FILE, fcntl.LOCK_SH)
        """,
    ),
    smuggler(
        "a word left in a limit",
        """
        import resource
        def known(): return resource.getrlimit(7)[0] == 77
        def tell(): resource.setrlimit(7, (77, 77))
        """,
    ),
    smuggler("a word left in a mask", "def known(): return os.umask(0o22) == 0o77\ndef tell(): os.umask(0o77)"),
    smuggler(
        "a word left in the tests' file name",
        "import linecache\ndef known(): return 'told' in linecache.cache\ndef tell(): linecache.cache['told'] = 1",
    ),
    own(
        "the tests in forked memory",
        f"{MEMORY}\nimport re\ndef f(x):\n    needle = re.compile(b'sec[r]et-of-these-tests')\n"
        "    return 4 if any(needle.search(page) for page in pages(64, 64)) else 0",
        FAIL,
        "SECRET = 'secret-of-these-tests'\nassert f(2) == 4",
        screen=PASS,
        limits=Limits(cpu_seconds=4.0),
    ),
]

TIDY = "import os\ndef f(): return os.listdir()"


def tidied(name: str, mess: str, limits: Limits = QUICK) -> Entry:
    """After the mess the next program finds an empty folder, and the worker is alive."""
    return own(name, TIDY, PASS, "assert f() == []", before=f"{text(mess)}\ndef f(): return []", limits=limits)


CLEANING = [
    tidied(
        "folders in the way of the cleaning",
        "import os\nfor n in range(40): os.makedirs(f'.{n}/x')\nos.makedirs('a/b/c'); open('.41', 'w').close()\n"
        "for n in range(42, 50): open(f'.{n}', 'w').close()",
    ),
    tidied(
        "names that are no text",
        "import os\nos.makedirs(b'\\xff\\n/\\xfe')\nopen(b'\\xff\\n/\\xfd', 'w').close()\nopen(b'\\n', 'w').close()",
    ),
    tidied("names of 255 bytes", "import os\nfor n in range(9):\n    os.mkdir(str(n) * 255); os.chdir(str(n) * 255)"),
    tidied("1,500 entries", "for n in range(1500): open(str(n), 'w').close()"),
    tidied("1,000 folders in each other", "import os\nfor n in range(1000):\n    os.mkdir('d'); os.chdir('d')"),
    tidied(
        "folders that nobody may enter",
        "import os\nos.makedirs('a/b/c')\nfor p in ('a/b/c', 'a/b', 'a'): os.chmod(p, 0)\nos.chmod('.', 0)",
    ),
    tidied(
        "a circle of links",
        "import os\nos.symlink('b', 'a'); os.symlink('a', 'b'); os.symlink('.', 'c'); os.symlink('/', 'd')",
    ),
    tidied("a sparse file", "open('x', 'w').truncate(16 << 20)"),
    tidied("a working folder that is gone", "import os\nos.mkdir('a'); os.chdir('a'); os.rmdir('../a')"),
    tidied("a deleted file held open", "import os\nF = open('x', 'wb'); F.write(bytes(9 << 20)); os.unlink('x')"),
    tidied(
        "a full folder", "try:\n    for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))\nexcept OSError: pass"
    ),
    tidied(
        "a file made while it ends",
        """
        import threading
        def make():
            n = 0
            while True:
                n += 1; open(f'{n}', 'w').close()
        threading.Thread(target=make).start()
        """,
        SHORT,
    ),
]

NEIGHBOURS = [
    own("after " + name, "def f(x): return 2 * x", PASS, before=f"{text(before)}\ndef f(x): return 2 * x", limits=SHORT)
    for name, before in (
        (
            "one that leaves threads",
            "import threading, os\ndef w():\n    while True: os.write(3, b'x')\nthreading.Thread(target=w).start()",
        ),
        ("one that closes everything", "import os\nos.closerange(0, 64)"),
        ("one that dies while it loads", "import os\nos.abort()"),
        ("one that stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"),
        ("one that fills memory", "X = bytearray(1 << 40)"),
        (
            "one that patches Python",
            "import builtins, sys\nbuiltins.len = None; sys.modules.clear(); builtins.__import__ = None",
        ),
        (
            "one that asks for all signals",
            """
        import signal
        for n in range(1, 64):
            try: signal.signal(n, signal.SIG_IGN)
            except OSError: pass
        """,
        ),
        (
            "one that speaks for it",
            """
        import os
        for n in range(64):
            try: os.write(n, b'\\0\\0\\0\\20["result","fail",""]' * 9)
            except OSError: pass
        """,
        ),
    )
]

TOOLS = [
    own(
        f"the zygote's own {name}",
        f"{KERNEL_CALLS}\ndef f(x):\n    {statement}\n    return 4",
        ERROR,
        says="PermissionError|Operation not permitted|ended its process",
    )
    for name, statement in (
        ("mounts", "import sandbox.namespaces as n; n.mount_tmp(16)"),
        ("namespaces", "import sandbox.namespaces as n; n.enter_namespaces()"),
        ("clone", "import sandbox.kernel as k; k.make(k.clone(0x20000000)) or os._exit(0)"),
        ("filter", "import sandbox.seccomp as s, sandbox.kernel as k; k.make(s.enter([(6, 0, 0, 0x7fff0000)]))"),
        ("rules", "import sandbox.landlock as l; l.ruleset(['/'], ['/'], [])"),
        ("identity", "import sandbox.kernel as k; k.call('setresuid', 0, 0, 0)"),
        ("ring", "import sandbox.kernel as k; [k.call('io_uring_register', n, 1, None, 0) for n in range(256)]"),
        ("descriptor of its process", "os.pidfd_open(os.getppid() or 1)"),
        ("messages", "import socket; socket.socket(fileno=3).recvmsg(1, 100)"),
    )
]

OWN = CODEC + LINK + HANDLES + SMUGGLERS + CLEANING + NEIGHBOURS + TOOLS
