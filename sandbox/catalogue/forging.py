"""Programs that try to pass without computing anything."""

from __future__ import annotations

from sandbox.catalogue.cases import QUICK, Entry, Kind, text
from sandbox.contract import Limits, Status

PLAIN = "assert f(2) == 4"


def forge(
    name: str, truth: Status, program: str, test: str = PLAIN, screen: Status | None = None, limits: Limits = QUICK
) -> Entry:
    """`truth` is the split tier's verdict; the screen's is the same unless it says otherwise."""
    shown = frozenset({truth if screen is None else screen})
    return Entry(name, Kind.FORGE, text(program) + "\n", (text(test),), shown, frozenset({truth}), limits)


EVIL = """
class Evil:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __mul__ = __mod__ = __sub__
    def __abs__(self): return 0
    def __float__(self): return 0.0
    def __round__(self, digits=None): return 0
def f(x): return Evil()
"""

FRAMES = """
import sys
def link():
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if hasattr(value, "ask") and hasattr(value, "serve_forever"):
                return value
        frame = frame.f_back
"""

ENDINGS: list[Entry] = [
    forge("sys.exit(0) at import", Status.ERROR, "import sys\nsys.exit(0)"),
    forge("sys.exit(0) in f", Status.ERROR, "import sys\ndef f(x): sys.exit(0)"),
    forge("os._exit(0) at import", Status.ERROR, "import os\nos._exit(0)"),
    forge("os._exit(0) in f", Status.ERROR, "import os\ndef f(x): os._exit(0)"),
    forge("SystemExit raised", Status.ERROR, "def f(x): raise SystemExit(0)"),
    forge("KeyboardInterrupt raised", Status.ERROR, "def f(x): raise KeyboardInterrupt"),
    forge("GeneratorExit raised", Status.ERROR, "def f(x): raise GeneratorExit"),
    forge("AssertionError raised", Status.ERROR, "def f(x): raise AssertionError('passed')"),
    forge("exec of true", Status.ERROR, "import os\ndef f(x): os.execv('/bin/true', ['true'])"),
    forge("atexit exits 0", Status.FAIL, "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 5"),
    forge(
        "excepthook exits 0",
        Status.ERROR,
        "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef f(x): raise ValueError(x)",
    ),
    forge(
        "timer thread exits 0",
        Status.ERROR,
        """
        import os, threading, time
        threading.Timer(0.02, os._exit, [0]).start()
        def f(x): time.sleep(0.2)
        """,
    ),
    forge(
        "alarm handler exits 0",
        Status.ERROR,
        """
        import os, signal, time
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        def f(x): time.sleep(0.2)
        """,
    ),
    forge(
        "dies in a call whose exceptions the test swallows",
        Status.ERROR,
        "import os\ndef f(x): os._exit(0)",
        """
        try:
            f(2)
        except BaseException:
            pass
        """,
    ),
    forge(
        "StopIteration ends the test's own iteration",
        Status.ERROR,
        "def f(x): raise StopIteration",
        "assert all(map(lambda x: f(x) == 2 * x, [1, 2, 3]))",
        screen=Status.PASS,
    ),
    forge(
        "prints markers", Status.FAIL, "print('PASS', 'OK', '[\"result\",\"pass\",\"\"]', 1, True)\ndef f(x): return 5"
    ),
]

EQUALITIES: list[Entry] = [
    forge("equal to everything", Status.FAIL, EVIL, screen=Status.PASS),
    forge("equal to everything, reversed", Status.FAIL, EVIL, "assert 4 == f(2)", screen=Status.PASS),
    forge("unequal to nothing", Status.FAIL, EVIL, "assert not f(2) != 4", screen=Status.PASS),
    forge(
        "equal to everything, in a list",
        Status.FAIL,
        EVIL + "def g(x): return [Evil()]",
        "assert g(2) == [4]",
        screen=Status.PASS,
    ),
    forge(
        "equal to everything, in a tuple",
        Status.FAIL,
        EVIL + "def g(x): return (1, Evil())",
        "assert g(2) == (1, 4)",
        screen=Status.PASS,
    ),
    forge(
        "equal to everything, in a dict",
        Status.FAIL,
        EVIL + "def g(x): return {1: Evil()}",
        "assert g(2) == {1: 4}",
        screen=Status.PASS,
    ),
    forge(
        "equal to everything, as a key",
        Status.FAIL,
        EVIL + "def g(x): return {Evil(): 1}",
        "assert g(2) == {0: 1}",
        screen=Status.PASS,
    ),
    forge(
        "equal to everything, in a set",
        Status.FAIL,
        EVIL + "def g(x): return {Evil()}",
        "assert g(2) == {0}",
        screen=Status.PASS,
    ),
    forge("member of everything", Status.FAIL, EVIL, "assert f(2) in [4, 5]", screen=Status.PASS),
    forge("difference is zero", Status.ERROR, EVIL, "assert abs(f(2) - 4.0) < 1e-6", screen=Status.PASS),
    forge("difference is zero, reversed", Status.ERROR, EVIL, "assert abs(4.0 - f(2)) < 1e-6", screen=Status.PASS),
    forge("rounds to anything", Status.FAIL, EVIL, "assert round(f(2), 3) == 4"),
    forge(
        "difference is an object whose size is zero",
        Status.ERROR,
        EVIL + "class Chain(Evil):\n    def __sub__(self, other): return self\ndef g(x): return Chain()",
        "assert abs(g(2) - 4.0) < 1e-6",
        screen=Status.PASS,
    ),
    forge(
        "difference of sets is empty",
        Status.ERROR,
        EVIL + "class Empty(Evil):\n    def __sub__(self, other): return self\n    def __len__(self): return 0\n"
        "def g(x): return Empty()",
        "assert len(g(2) - {4}) == 0",
        screen=Status.PASS,
    ),
    forge(
        "difference iterates over nothing",
        Status.ERROR,
        EVIL
        + "class Empty(Evil):\n    def __sub__(self, other): return self\n    def __iter__(self): return iter(())\n"
        "def g(x): return Empty()",
        "assert list(g(2) - {4}) == []",
        screen=Status.PASS,
    ),
    forge("smaller and greater than everything", Status.ERROR, EVIL, "assert 3 < f(2) < 5", screen=Status.PASS),
    forge(
        "int subclass with __eq__",
        Status.FAIL,
        "class Int(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return Int(5)",
        screen=Status.PASS,
    ),
    forge(
        "str subclass with __eq__",
        Status.FAIL,
        "class Str(str):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return Str('no')",
        "assert f(2) == 'yes'",
        screen=Status.PASS,
    ),
    forge(
        "list subclass with __eq__",
        Status.FAIL,
        "class List(list):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return List()",
        "assert f(2) == [4]",
        screen=Status.PASS,
    ),
    forge(
        "float subclass that is close",
        Status.FAIL,
        "class Float(float):\n    def __sub__(self, other): return 0.0\n    __abs__ = lambda self: 0.0\n"
        "def f(x): return Float(9)",
        "assert abs(f(2) - 4.0) < 1e-6",
        screen=Status.PASS,
    ),
    forge(
        "__class__ lies",
        Status.FAIL,
        "class Liar:\n    __class__ = int\n    def __eq__(self, other): return True\ndef f(x): return Liar()",
        "assert isinstance(f(2), int) and f(2) == 4",
        screen=Status.PASS,
    ),
    forge(
        "metaclass equal to everything",
        Status.FAIL,
        "class Meta(type):\n    def __eq__(cls, other): return True\n    __hash__ = type.__hash__\n"
        "class Evil(metaclass=Meta): pass\ndef f(x): return Evil",
        screen=Status.PASS,
    ),
    forge("a module as result", Status.FAIL, "import operator\ndef f(x): return operator"),
    forge("NotImplemented as result", Status.FAIL, "def f(x): return NotImplemented"),
]

PATCHES: list[Entry] = [
    forge(
        "patched abs",
        Status.FAIL,
        "import builtins\nbuiltins.abs = lambda x: 0\ndef abs(x): return 0\ndef f(x): return 5",
        "assert abs(f(2) - 4) < 1e-6",
        screen=Status.PASS,
    ),
    forge(
        "patched all",
        Status.FAIL,
        "import builtins\nbuiltins.all = lambda x: True\ndef all(x): return True\ndef f(x): return 5",
        "assert all(f(x) == 2 * x for x in (1, 2))",
        screen=Status.PASS,
    ),
    forge(
        "patched len",
        Status.ERROR,
        "import builtins\nbuiltins.len = lambda x: 4\nlen = builtins.len\ndef f(x): return [1]",
        "assert len(f(2)) == 4",
        screen=Status.PASS,
    ),
    forge(
        "patched isinstance",
        Status.ERROR,
        "import builtins\nbuiltins.isinstance = lambda *_: True\nisinstance = builtins.isinstance\n"
        "def f(x): return None",
        "assert isinstance(f(2), int)",
        screen=Status.PASS,
    ),
    forge(
        "patched sorted",
        Status.FAIL,
        "import builtins\nbuiltins.sorted = lambda x: [1, 2]\nsorted = builtins.sorted\ndef f(x): return [9]",
        "assert sorted(f(2)) == [1, 2]",
        screen=Status.PASS,
    ),
    forge(
        "patched math.isclose",
        Status.FAIL,
        "import math\nmath.isclose = lambda *_, **__: True\ndef f(x): return 5.0",
        "import math\nassert math.isclose(f(2), 4.0)",
        screen=Status.PASS,
    ),
    forge(
        "patched math.isclose, imported by the program only",
        Status.FAIL,
        "import math\nmath.isclose = lambda *_, **__: True\ndef f(x): return 5.0",
        "assert math.isclose(f(2), 4.0)",
        screen=Status.PASS,
    ),
    forge(
        "an object named math",
        Status.ERROR,
        "class math:\n    isclose = staticmethod(lambda *_: True)\ndef f(x): return 5.0",
        "assert math.isclose(f(2), 4.0)",
    ),
    forge(
        "a function named isclose",
        Status.ERROR,
        "def isclose(*_): return True\ndef f(x): return 5.0",
        "assert isclose(f(2), 4.0)",
    ),
    forge(
        "patched unittest",
        Status.FAIL,
        "import unittest\nunittest.TestCase.assertEqual = lambda *_: None\ndef f(x): return 5",
        "import unittest\nunittest.TestCase().assertEqual(f(2), 4)",
        screen=Status.PASS,
    ),
    forge(
        "SkipTest raised",
        Status.FAIL,
        "import unittest\ndef f(x): raise unittest.SkipTest('passed')",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)\n"
        "result = unittest.TestResult()\nT('test').run(result)\nassert result.wasSuccessful()",
        screen=Status.PASS,
    ),
    forge(
        "planted pytest",
        Status.FAIL,
        "import sys, types\nplanted = types.ModuleType('pytest')\nplanted.approx = lambda *_: 5\n"
        "sys.modules['pytest'] = planted\ndef f(x): return 5",
        "import pytest\nassert f(2) == pytest.approx(4)",
        screen=Status.PASS,
    ),
    forge(
        "a file that shadows a module",
        Status.FAIL,
        "open('math.py', 'w').write('isclose = lambda *_: True')\n"
        "open('statistics.py', 'w').write('mean = lambda _: 4')\n"
        "def f(x): return [5]",
        "import statistics\nassert statistics.mean(f(2)) == 4",
    ),
    forge(
        "replaced __builtins__",
        Status.FAIL,
        "import builtins\nclass Assertion(BaseException): pass\nbuiltins.AssertionError = Assertion\n"
        "__builtins__ = {'AssertionError': Assertion}\ndef f(x): return 5",
        screen=Status.ERROR,
    ),
    forge(
        "import hook",
        Status.FAIL,
        "import sys\nclass Hook:\n    def find_spec(self, *_): raise SystemExit(0)\nsys.meta_path.insert(0, Hook())\n"
        "def f(x): return 5",
        "import fractions\nassert f(2) == 4",
    ),
    forge(
        "sys.modules tampered with",
        Status.FAIL,
        "import sys\nfor name in list(sys.modules):\n    if name.startswith('sandbox.'): sys.modules[name] = None\n"
        "def f(x): return 5",
    ),
    forge("PYTHONOPTIMIZE", Status.FAIL, "import os\nos.environ['PYTHONOPTIMIZE'] = '2'\ndef f(x): return 5"),
    forge(
        "compiled without assertions",
        Status.FAIL,
        """
        import builtins
        compiled = builtins.compile
        builtins.compile = lambda *a, **k: compiled(*a, **{**k, "optimize": 2})
        def f(x): return 5
        """,
    ),
    forge(
        "trace function that jumps",
        Status.ERROR,
        """
         import sys
         def jump(frame, event, argument):
             if event == "line":
                 try: frame.f_lineno += 1
                 except ValueError: pass
             return jump
         sys.settrace(jump)
         def f(x):
             frame = sys._getframe()
             while frame:
                 frame.f_trace = jump
                 frame = frame.f_back
             return 5
         """,
    ),
]

SNOOPS: list[Entry] = [
    forge(
        "expected values from frames",
        Status.FAIL,
        """
         import sys
         def f(x):
             frame = sys._getframe()
             while frame:
                 for value in [*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts]:
                     if type(value) is str and value[:11] == "assert f(2)" and value[-1:] == "4":
                         return int(value[-1])
                 frame = frame.f_back
             return 0
         """,
    ),
    forge(
        "expected values from the heap",
        Status.FAIL,
        """
         import gc
         def f(x):
             for thing in gc.get_objects():
                 needle = " ".join(["assert", "f(2)", "==", "4"])
                 if isinstance(thing, (list, tuple, dict)) and needle in str(thing)[:10_000]:
                     return 4
             return 0
         """,
        screen=Status.PASS,
    ),
    forge(
        "expected values from memory",
        Status.FAIL,
        """
         import ctypes
         needle = b" ".join([b"assert", b"f(2)", b"==", b"4"])
         def f(x):
             try:
                 maps = open("/proc/self/maps").read()
             except OSError:
                 return 0
             for line in maps.splitlines():
                 low, high = (int(part, 16) for part in line.split()[0].split("-"))
                 if "rw" in line and needle in ctypes.string_at(low, high - low):
                     return 4
             return 0
         """,
    ),
    forge(
        "a callback's code and globals",
        Status.ERROR,
        """
         def f(call):
             for name in ("__globals__", "__closure__", "__defaults__", "__self__", "gi_frame"):
                 for holder in (call, call.__code__):
                     try: found = getattr(holder, name)
                     except AttributeError: continue
                     if "function" not in str(found): return 4
             if hasattr(call.__code__, "co_consts") or hasattr(call.__code__, "co_names"): return 4
             raise LookupError
         """,
        "secret = 4\nassert f(lambda x: secret) == 4",
        screen=Status.PASS,
    ),
    forge(
        "a generator's frame",
        Status.ERROR,
        "def f(items): return items.gi_frame.f_globals['secret']",
        "secret = 4\nassert f(x for x in [1]) == secret",
        screen=Status.PASS,
    ),
    forge(
        "a class made in the tests' process",
        Status.FAIL,
        FRAMES
        + """
def f(box):
    Remote, ask = type(box).__mro__[1], link().ask
    for number in range(12):
        try:
            made = ask("call", Remote(number, link()), (), "Evil", (object,), {"__eq__": lambda self, other: True})
            return made()
        except Exception:
            continue
    return 0
""",
        "class Box: pass\nassert f(Box()) == 4",
        screen=Status.ERROR,
    ),
    forge(
        "locals of the judge",
        Status.FAIL,
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
                    check = getattr(value, "__func__", None)
                    if getattr(check, "__qualname__", "") == "Comparison.check":
                        check.__code__ = (lambda self, name, left, right: True).__code__
                frame = frame.f_back
            return 5
        """,
        screen=Status.PASS,
    ),
    forge(
        "expected values from constants",
        Status.FAIL,
        """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                if frame.f_code.co_filename == "<test>":
                    return max(value for value in frame.f_code.co_consts if type(value) is int)
                frame = frame.f_back
            return 0
        """,
        screen=Status.PASS,
    ),
]

WIRE: list[Entry] = [
    forge(
        "verdicts on every descriptor",
        Status.ERROR,
        """
         import json, os
         def frame(message):
             data = json.dumps(message).encode()
             return len(data).to_bytes(4, "big") + data
         def f(x):
             for number in range(1, 64):
                 try: os.write(number, frame(["result", "pass", ""]) * 3 + b"PASS")
                 except OSError: pass
             return 5
         """,
        screen=Status.PASS,
    ),
    forge(
        "answers in advance",
        Status.ERROR,
        """
         import json, os
         data = json.dumps(["a", [], [4]]).encode()
         os.write(3, (len(data).to_bytes(4, "big") + data) * 5)
         def f(x): return 5
         """,
        "assert f(2) == 4\nassert f(3) == 6",
    ),
    forge(
        "noise on the link",
        Status.ERROR,
        "import os\ndef f(x): os.write(3, os.urandom(5000)); return 4",
        "f(2)\nassert f(2) == 4",
    ),
    forge(
        "a thread that floods the link",
        Status.ERROR,
        "import os, threading\ndef flood():\n    while True: os.write(3, b'x' * 100)\n"
        "def f(x):\n    threading.Thread(target=flood, daemon=True).start()\n"
        "    import time; time.sleep(0.1)\n    return 4",
        "f(2)\nassert f(2) == 4",
        screen=Status.TIMEOUT,
        limits=Limits(cpu_seconds=1.0, wall_seconds=1.5),
    ),
    forge(
        "a node that brings home what was never lent",
        Status.ERROR,
        FRAMES + "def f(x):\n    link()._codec.encode = lambda value: ['o', 0]\n    return 1",
    ),
    forge(
        "a claim that f is something of the library",
        Status.FAIL,
        """
         import sandbox.candidate as candidate
         def answer(name, value): return name, "library", "operator:eq"
         candidate._claim = answer
         def f(x): return 5
         """,
    ),
    forge(
        "a claim that hides f so that abs is the program's",
        Status.ERROR,
        """
         import sandbox.candidate as candidate
         claim = candidate._claim
         def f(x): return 5
         def abs(x): return 0
         class Names(dict):
             def __contains__(self, name): return name != "f" and super().__contains__(name)
         def hide(program, source, seed, names): return (("abs", "stable", abs),)
         import sys
         frame = sys._getframe()
         while frame:
             operations = frame.f_locals.get("operations")
             frame = frame.f_back
         import gc
         for thing in gc.get_objects():
             if isinstance(thing, dict) and "load" in thing and "global" in thing:
                 thing["global"] = lambda name: f
         candidate._claim = lambda name, value: ("abs", "stable", abs)
         """,
        "assert abs(f(2) - 4) < 1e-6",
        screen=Status.FAIL,
    ),
]

FORGERIES = ENDINGS + EQUALITIES + PATCHES + SNOOPS + WIRE

OPINIONS: list[Entry] = [
    forge("true whatever is asked", Status.PASS_WEAK, EVIL, "assert f(2)", screen=Status.PASS),
    forge("contains whatever is asked", Status.PASS_WEAK, EVIL, "assert 4 in f(2)", screen=Status.PASS),
    forge("two objects equal to everything", Status.PASS_WEAK, EVIL, "assert f(2) == f(3)", screen=Status.PASS),
    forge("an instance of what it likes", Status.PASS_WEAK, EVIL, "assert isinstance(f(2), Evil)", screen=Status.PASS),
    forge(
        "an attribute of a difference",
        Status.PASS_WEAK,
        EVIL + "class Span(Evil):\n    days = 0\n    def __sub__(self, other): return self\ndef g(x): return Span()",
        "assert (g(2) - 4).days == 0",
        screen=Status.PASS,
    ),
    forge(
        "a method that agrees",
        Status.PASS_WEAK,
        EVIL + "Evil.equals = lambda self, other: True",
        "assert f(2).equals(4)",
        screen=Status.PASS,
    ),
]
"""Judgements that only the program can give: they pass, but never as PASS."""
