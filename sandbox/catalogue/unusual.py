"""Programs that are right, whatever they use of the language and the library."""

from __future__ import annotations

from sandbox.catalogue.cases import NUMPY, Entry, Kind, text
from sandbox.contract import Limits, Status

ROOMY = Limits(cpu_seconds=2.0)


def right(
    name: str, program: str, test: str, limits: Limits = ROOMY, split: Status = Status.PASS, numpy: bool = False
) -> Entry:
    """A program that passes in every tier; in the split tier perhaps weakly."""
    passes, needs = frozenset({Status.PASS}), NUMPY if numpy else frozenset()
    strict = frozenset({split})
    return Entry(name, Kind.MUST_PASS, text(program) + "\n", (text(test),), passes, strict, limits, needs=needs)


UNUSUAL: list[Entry] = [
    right(
        "Unicode",
        "def größe(s): return len(s)\ndef f(): return 'naïve 😀'",
        "assert größe(f()) == 7 and f() == 'naïve 😀'",
    ),
    right("CRLF", "def f(x):\r\n    return x\r\n", "assert f(1) == 1"),
    right("byte order mark", "\ufeffdef f(x): return x", "assert f(1) == 1"),
    right("lone surrogate in the source", "S = '\ud800'\ndef f(): return len(S)", "assert f() == 1"),
    right("lone surrogate as result", "def f(): return chr(0xd800)", "assert f() == chr(0xd800)"),
    right("200 KB of output", "def f(): print('x' * 200_000); return 1", "assert f() == 1"),
    right(
        "200 KB of error output",
        """
        import sys
        def f(): print('x' * 200_000, file=sys.stderr); return 1
        """,
        "assert f() == 1",
    ),
    right("output that UTF-8 cannot hold", "def f(): print(chr(0xd800)); return 1", "assert f() == 1"),
    right("recursion of 900", "def f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(900) == 900"),
    right(
        "recursion of 5,000",
        """
        import sys
        sys.setrecursionlimit(10_000)
        def f(n): return 0 if n == 0 else 1 + f(n - 1)
        """,
        "assert f(5000) == 5000",
    ),
    right(
        "threads",
        """
        from concurrent.futures import ThreadPoolExecutor
        def f():
            with ThreadPoolExecutor(8) as pool: return list(pool.map(abs, [-1, 2]))
        """,
        "assert f() == [1, 2]",
    ),
    right(
        "callback from threads",
        """
        from concurrent.futures import ThreadPoolExecutor
        def f(g):
            with ThreadPoolExecutor(4) as pool: return list(pool.map(g, range(20)))
        """,
        "assert f(lambda x: x * 2) == list(range(0, 40, 2))",
    ),
    right(
        "asyncio inside",
        """
        import asyncio
        async def g(): await asyncio.sleep(0.01); return 5
        def f(): return asyncio.run(g())
        """,
        "assert f() == 5",
    ),
    right(
        "coroutine",
        """
        import asyncio
        async def f(x): await asyncio.sleep(0.001); return x
        """,
        """
        import asyncio
        assert asyncio.run(f(5)) == 5
        """,
    ),
    right(
        "coroutines gathered",
        "async def f(x): return x",
        """
        import asyncio
        async def main(): return await asyncio.gather(f(1), f(2))
        assert asyncio.run(main()) == [1, 2]
        """,
    ),
    right(
        "tempfile",
        """
        import tempfile
        def f():
            with tempfile.NamedTemporaryFile('w+') as t:
                t.write('hi'); t.seek(0); return t.read()
        """,
        "assert f() == 'hi'",
    ),
    right(
        "file in the working folder",
        """
        import os
        def f(): open('a.txt', 'w').write('hi'); return open(os.path.join(os.getcwd(), 'a.txt')).read()
        """,
        "assert f() == 'hi'",
    ),
    right(
        "file that the test wrote",
        "def f(path): return open(path).read().split()",
        """
        open('in.txt', 'w').write('a b')
        assert f('in.txt') == ['a', 'b']
        """,
    ),
    right(
        "copying files",
        """
        import shutil
        def f(): open('a', 'w').write('x'); shutil.copy2('a', 'b'); return open('b').read()
        """,
        "assert f() == 'x'",
    ),
    right(
        "pickle of a class of its own",
        """
        import pickle
        class C:
            x = 3
        def f(): return pickle.loads(pickle.dumps(C())).x
        """,
        "assert f() == 3",
    ),
    right(
        "dataclass with future annotations",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class P:
            x: int
            y: P | None = None
        def f(): return P(1).x
        """,
        "assert f() == 1 and P(3).y is None",
    ),
    right("huge integer", "def f(): return 10 ** 5000", "assert f() == 10 ** 5000"),
    right(
        "NaN and infinity",
        "def f(): return [float('nan'), float('inf'), -0.0]",
        """
        import math
        a, b, c = f()
        assert math.isnan(a) and b == math.inf and str(c) == '-0.0'
        """,
    ),
    right(
        "expected exception",
        "def f(x): return 1 / x",
        """
        try:
            f(0)
        except ZeroDivisionError as e:
            assert 'zero' in str(e)
        else:
            assert False
        """,
    ),
    right(
        "custom exception",
        """
        class Bad(ValueError):
            def __init__(self, code): super().__init__(f'code {code}'); self.code = code
        def f(): raise Bad(3)
        """,
        """
        try:
            f()
            assert False
        except Bad as e:
            assert e.code == 3 and str(e) == 'code 3' and isinstance(e, ValueError)
        """,
    ),
    right(
        "custom exceptions' hierarchy",
        """
        class A(Exception): pass
        class B(A): pass
        def f(): raise B('x')
        """,
        """
        try:
            f()
        except A as e:
            assert type(e).__name__ == 'B'
        else:
            raise AssertionError
        """,
    ),
    right(
        "pytest.raises",
        """
        def f(x):
            if x < 0: raise ValueError('negative: %d' % x)
        """,
        """
        import pytest
        with pytest.raises(ValueError, match='negative') as info:
            f(-1)
        assert '-1' in str(info.value)
        """,
    ),
    right(
        "pytest.approx",
        "def f(): return 0.1 + 0.2",
        """
        import pytest
        assert f() == pytest.approx(0.3)
        assert [f()] == pytest.approx([0.3])
        """,
    ),
    right(
        "unittest",
        "def f(x): return x + 1",
        """
        import unittest
        class T(unittest.TestCase):
            def test(self): self.assertEqual(f(1), 2); self.assertRaises(TypeError, f, 'x')
        r = unittest.TestResult()
        T('test').run(r)
        assert r.wasSuccessful() and r.testsRun == 1
        """,
    ),
    right(
        "mutation in place",
        "def f(x): x.append(1); x[0].add(9)",
        """
        a = [{1}]
        f(a)
        assert a == [{1, 9}, 1]
        """,
    ),
    right(
        "mutation in place of a dict",
        "def f(d): d['b'] = d.pop('a')",
        """
        d = {'a': 1}
        f(d)
        assert d == {'b': 1}
        """,
    ),
    right(
        "in-place sort",
        "def f(x): x.sort(); return x",
        """
        a = [3, 1]
        assert f(a) is a and a == [1, 3]
        """,
    ),
    right(
        "aliases",
        "def f(x): x[0].append(1)",
        """
        row = []
        g = [row, row]
        f(g)
        assert g[1] == [1] and row == [1]
        """,
    ),
    right(
        "mutation before an exception",
        "def f(x): x.append(1); raise KeyError",
        """
        a = []
        try:
            f(a)
        except KeyError:
            pass
        assert a == [1]
        """,
    ),
    right(
        "a list that the object keeps",
        """
        class C:
            def __init__(self): self.items = []
            def count(self): return len(self.items)
        """,
        """
        c = C()
        c.items.append(1)
        assert c.count() == 1 and c.items == [1]
        """,
    ),
    right(
        "class with an interface",
        """
        class Stack:
            def __init__(self): self._x = []
            def push(self, v): self._x.append(v)
            def pop(self): return self._x.pop()
            def __len__(self): return len(self._x)
            def __iter__(self): return iter(self._x)
            def __getitem__(self, i): return self._x[i]
        """,
        """
        s = Stack()
        s.push(1)
        s.push('a')
        assert len(s) == 2 and list(s) == [1, 'a'] and s[0] == 1 and s.pop() == 'a' and len(s) == 1
        """,
    ),
    right(
        "operators",
        """
        class V:
            def __init__(s, x): s.x = x
            def __add__(s, o): return V(s.x + o.x)
            def __mul__(s, k): return V(s.x * k)
            def __neg__(s): return V(-s.x)
            def __repr__(s): return f'V({s.x})'
        """,
        "assert (V(1) + V(2)).x == 3 and (V(2) * 3).x == 6 and repr(-V(1)) == 'V(-1)' and f'{V(1)}' == 'V(1)'",
        split=Status.PASS_WEAK,
    ),
    right(
        "context manager",
        """
        class C:
            def __enter__(self): self.on = True; return self
            def __exit__(self, *a): self.on = False; return True
        """,
        """
        with C() as c:
            assert c.on
            raise ValueError
        assert not c.on
        """,
        split=Status.PASS_WEAK,
    ),
    right(
        "attributes set by the test",
        """
        class Node:
            def __init__(self, v): self.v, self.next = v, None
        def f(n): return [] if n is None else [n.v] + f(n.next)
        """,
        """
        a = Node(1)
        a.next = Node(2)
        assert f(a) == [1, 2] and a.next.next is None
        """,
    ),
    right(
        "class of the test",
        "def f(n): return 0 if n is None else n.v + f(n.next)",
        """
        class Node:
            def __init__(self, v, next=None): self.v, self.next = v, next
        assert f(Node(1, Node(2))) == 3
        """,
    ),
    right(
        "enumeration",
        """
        import enum
        class C(enum.Enum):
            A = 1
            B = 2
        def f(): return C.B
        """,
        "assert f().name == 'B' and f().value == 2 and f() is C.B and len(C) == 2",
    ),
    right(
        "integer enumeration",
        """
        import enum
        class C(enum.IntEnum):
            A = 1
        def f(): return C.A
        """,
        "assert f() == 1 and f() + 1 == 2",
    ),
    right(
        "generator",
        """
        def f(n):
            for i in range(n): yield i
        """,
        """
        assert list(f(3)) == [0, 1, 2]
        g = f(1)
        assert next(g) == 0 and next(g, None) is None
        """,
    ),
    right(
        "generator that is sent values",
        """
        def f():
            x = yield 1
            yield x
        """,
        """
        g = f()
        next(g)
        assert g.send(5) == 5
        """,
    ),
    right(
        "lazy iterators",
        "def f(x): return map(str, x), zip(x, x), filter(None, x)",
        """
        a, b, c = f([0, 1])
        assert list(a) == ['0', '1'] and list(b) == [(0, 0), (1, 1)] and list(c) == [1]
        """,
    ),
    right("closure", "def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
    right(
        "decorator",
        """
        def f(g):
            def h(*a, **k): return g(*a, **k) + 1
            return h
        """,
        """
        @f
        def one(x, y=0): return x + y
        assert one(1, y=2) == 4
        """,
    ),
    right(
        "callback",
        "def f(g, xs): return sorted(xs, key=g)",
        "assert f(lambda x: -x, [1, 3, 2]) == [3, 2, 1] and f(len, ['aa', 'b']) == ['b', 'aa']",
    ),
    right(
        "callback that raises",
        """
        def f(g):
            try: return g()
            except KeyError: return 'caught'
        """,
        """
        def g(): raise KeyError('x')
        assert f(g) == 'caught'
        """,
    ),
    right(
        "callback that calls back",
        "def f(g, n): return n if n == 0 else g(f, n - 1)",
        "assert f(lambda h, n: h(lambda *_: 7, n), 2) == 7",
    ),
    right(
        "keyword arguments",
        "def f(a, *b, c=0, **d): return a, b, c, d",
        "assert f(1, 2, c=3, e=4) == (1, (2,), 3, {'e': 4})",
    ),
    right(
        "Counter and defaultdict",
        """
        from collections import Counter, defaultdict
        def f(): return Counter('aab')
        def g():
            d = defaultdict(list); d[1].append(2)
            return d
        """,
        "assert f() == {'a': 2, 'b': 1} and g() == {1: [2]} and f().most_common(1) == [('a', 2)]",
    ),
    right(
        "OrderedDict and deque",
        """
        from collections import OrderedDict, deque
        def f(): return OrderedDict(a=1), deque([1], 3)
        """,
        """
        from collections import deque
        a, b = f()
        assert a == {'a': 1} and b == deque([1]) and b.maxlen == 3
        """,
    ),
    right(
        "Decimal and Fraction",
        """
        from decimal import Decimal
        from fractions import Fraction
        def f(): return Decimal('1.10'), Fraction(1, 3)
        """,
        """
        from decimal import Decimal
        from fractions import Fraction
        assert f() == (Decimal('1.1'), Fraction(1, 3)) and f()[1] * 3 == 1
        """,
    ),
    right(
        "named tuple",
        """
        from collections import namedtuple
        P = namedtuple('P', 'x y')
        def f(): return P(1, 2)
        """,
        "assert f() == (1, 2) and f().y == 2 and P(3, 4).x == 3",
    ),
    right(
        "typed named tuple with a method",
        """
        from typing import NamedTuple
        class P(NamedTuple):
            x: int
            def twice(self): return 2 * self.x
        def f(): return P(4)
        """,
        "assert f().twice() == 8 and f().x == 4 and f() == (4,)",
    ),
    right(
        "sets of tuples",
        "def f(): return {(1, 2), (3, 4)}, frozenset({1})",
        "assert f() == ({(3, 4), (1, 2)}, frozenset({1}))",
    ),
    right(
        "bytes and bytearray",
        r"""
        def f(): return b'\x00\xff', bytearray(b'a')
        """,
        r"""
        assert f() == (b'\x00\xff', bytearray(b'a'))
        """,
    ),
    right(
        "dates",
        """
        import datetime as d
        Z = d.timezone.utc
        def f(): return d.datetime(2020, 1, 2, 3), d.date(2020, 1, 1) + d.timedelta(1), d.datetime(2020, 1, 1, tzinfo=Z)
        """,
        """
        from datetime import *
        assert f() == (datetime(2020, 1, 2, 3), date(2020, 1, 2), datetime(2020, 1, 1, tzinfo=timezone.utc))
        """,
    ),
    right(
        "types as results",
        "def f(x): return type(x)",
        "assert f(1) is int and f('') is str and f(None) is type(None)",
    ),
    right(
        "slices and ellipsis",
        """
        class C:
            def __getitem__(self, i): return i
        """,
        "assert C()[1:2] == slice(1, 2) and C()[...] is ...",
    ),
    right(
        "0.3 s of CPU time",
        """
        import time
        def f():
            end = time.process_time() + 0.3
            while time.process_time() < end: pass
            return 1
        """,
        "assert f() == 1",
        limits=Limits(cpu_seconds=1.0),
    ),
    right(
        "__main__ guard with input",
        """
        def f(): return 1
        if __name__ == '__main__':
            print(f(input()))
        """,
        "assert f() == 1",
    ),
    right(
        "a global that changes",
        """
        n = 0
        def f():
            global n, late
            n += 1; late = n
        """,
        """
        f()
        assert n == 1 and late == 1
        f()
        assert n == 2
        """,
    ),
    right(
        "a class of the test's made of the program's",
        """
        LARGE = 9
        class Node:
            def __init__(self, value): self.value = value
        def logged(function): return function
        def f(node): return node.value
        """,
        """
        class Maker:
            read = staticmethod(f)
            first: Node = Node(1)
            @logged
            def make(self, value=LARGE) -> Node: return Node(value)
        assert f(Maker().make()) == 9 and Maker.read(Maker.first) == 1
        """,
    ),
    right(
        "named tuples that come home",
        """
        import copy
        from collections import namedtuple
        Point = namedtuple("Point", "x y")
        Other = namedtuple("Point", "x y")
        def f(p):
            match copy.copy(p):
                case Point(x=x, y=y): return x + y
        """,
        "assert f(Point(1, 2)) == 3 and f(Other(1, 2)) is None",
    ),
    right(
        "a named tuple of the test's",
        "def f(p): return p, isinstance(p, tuple)",
        """
        from collections import namedtuple
        P = namedtuple("P", "x")
        back, plain = f(P(1))
        assert type(back) is P and back == (1,) and plain is True
        """,
    ),
    *(
        right(
            f"an exception of the library's: {kind}",
            f"import {kind.partition('.')[0]}\ndef f(): {breaks}",
            f"""
            import {kind.partition(".")[0]}
            try: f()
            except {kind} as error: caught = error
            assert str(caught) != "" {more}
            """,
        )
        for kind, breaks, more in (
            ("json.JSONDecodeError", "json.loads('[')", "and caught.pos == 1"),
            ("decimal.InvalidOperation", "decimal.Decimal('x')", ""),
            ("dataclasses.FrozenInstanceError", "dataclasses.make_dataclass('P', 'x', frozen=True)(1).x = 2", ""),
            ("queue.Empty", "queue.Queue().get_nowait()", "or True"),
            ("re.error", "re.compile('(')", "and caught.pos == 0"),
            ("statistics.StatisticsError", "statistics.mean([])", ""),
            ("graphlib.CycleError", "graphlib.TopologicalSorter({1: [1]}).prepare()", "and caught.args[1] == [1, 1]"),
        )
    ),
    right(
        "what an exception's class offers",
        """
        class Refused(ValueError):
            code = 404
            def __init__(self, words, why=None):
                super().__init__(words)
                self.why = why
            @property
            def reason(self): return self.why.upper()
            def as_dict(self): return {"words": str(self), "code": self.code}
        def f(): raise Refused("no", why="late")
        """,
        """
        try: f()
        except Refused as error:
            assert (error.code, error.why, error.reason) == (404, "late", "LATE")
            assert error.as_dict() == {"words": "no", "code": 404}
        """,
    ),
    right(
        "what a decorator copies",
        """
        import functools
        def timed(function):
            "Times a function."
            @functools.wraps(function)
            def inner(*values, **named): return function(*values, **named)
            return inner
        """,
        """
        @timed
        def add(a, b):
            "Adds."
            return a + b
        assert (add.__name__, add.__doc__, timed.__doc__, add(1, b=2)) == ("add", "Adds.", "Times a function.", 3)
        """,
    ),
    *(
        right(
            f"currying by {how.partition('(')[0]}",
            f"""
            import inspect
            def curry(function):
                count = {how}
                def inner(*values):
                    return function(*values) if len(values) >= count else lambda *more: inner(*values, *more)
                return inner
            """,
            "assert curry(lambda a, b, c: a + b * c)(1)(2)(3) == 7",
        )
        for how in ("len(inspect.signature(function).parameters)", "function.__code__.co_argcount")
    ),
    right(
        "a data base of the test's",
        """
        def fill(connection, rows):
            with connection:
                connection.execute("create table t (n)")
                connection.executemany("insert into t values (?)", [(row,) for row in rows])
            return connection.execute("select sum(n) from t").fetchone()[0]
        """,
        "import sqlite3\nassert fill(sqlite3.connect(':memory:'), [1, 2, 3]) == 6",
    ),
    right(
        "a test's object with a method called format",
        "def f(style, text): return style.format(text)",
        """
        class Loud:
            def format(self, text): return text.upper()
        assert f(Loud(), "a") == "A"
        """,
    ),
    right(
        "a generator that says what it is",
        "def f():\n    yield 1",
        "import inspect, types\nassert inspect.isgenerator(f()) and isinstance(f(), types.GeneratorType)",
    ),
    right("a name of Python's that the program takes", "def sum(a, b): return a * b", "assert sum(3, 4) == 12"),
    right(
        "what the program imported",
        """
        import math
        from collections import Counter
        def f(): return 'aab'
        """,
        "assert Counter(f())['a'] == 2 and math.floor(2.5) == 2",
    ),
    right(
        "several statements with a check function",
        "def f(x): return 2 * x",
        """
        def check(candidate):
            assert candidate(1) == 2
            assert candidate(2) == 4
        check(f)
        """,
    ),
    right(
        "numpy",
        """
        import numpy as np
        def f(): return np.arange(4).reshape(2, 2), np.int64(3), np.float64(0.5)
        """,
        """
        import numpy as np
        a, b, c = f()
        assert (a == [[0, 1], [2, 3]]).all() and b == 3 and c == 0.5 and a.shape == (2, 2)
        """,
        limits=Limits(cpu_seconds=10.0),
        numpy=True,
    ),
]
