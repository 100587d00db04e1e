"""Sources that are meant for whoever compiles them: too deep, too long, too clever; and some that only look it."""

from __future__ import annotations

from sandbox.catalogue.cases import QUICK, Entry, Kind, text
from sandbox.contract import Limits, Status

PASS, ERROR, MEMORY, TIMEOUT = Status.PASS, Status.ERROR, Status.MEMORY, Status.TIMEOUT
SLOW = Limits(cpu_seconds=2.0, wall_seconds=8.0)
RIGHT = "def f(x): return 2 * x\n"
FINALLY = "".join(f"{'  ' * n}try: a()\n{'  ' * n}finally:\n" for n in range(1, 20))
"""Each `return` runs every `finally` around it, and the compiler copies each into both of its exits."""


def source(
    name: str, program: str, *truth: Status, before: str = "", limits: Limits = QUICK, test: str = "assert f(2) == 4",
    says: str = "",
) -> Entry:  # fmt: skip
    """A program that is taken as it stands; its verdict is the same in every tier."""
    allowed = frozenset(truth)
    return Entry(name, Kind.OWN, program, (test,), allowed, allowed, limits, says, text(before))


REFUSED = [
    source("500,000 nested brackets", f"{RIGHT}x = {'[' * 500_000}{']' * 500_000}", ERROR, MEMORY),
    source("brackets that stay open", f"{RIGHT}x = {'(' * 100_000}", ERROR, MEMORY),
    source("3,000 nested conditions", RIGHT + "x = " + "(1 if " * 3000 + "1" + " else 0)" * 3000, ERROR, MEMORY),
    source("200 levels of indentation", RIGHT + "".join(f"{' ' * n}if 1:\n" for n in range(200)), ERROR),
    source("30 nested loops", RIGHT + "".join(f"{' ' * n}for i in x:\n" for n in range(30)) + f"{' ' * 30}pass", ERROR),
    source("100,000 terms", f"{RIGHT}x = {'1 + ' * 100_000}1", ERROR, MEMORY, PASS),
    source("100,000 attributes", f"{RIGHT}def g(x): return x{'.a' * 100_000}", ERROR, MEMORY, PASS),
    source("5,000 nested functions", RIGHT + "x = " + "lambda: " * 5000 + "0", ERROR, MEMORY),
    source("5,000 nested calls", RIGHT + "x = " + "f(" * 5000 + ")" * 5000, ERROR, MEMORY),
    source("5,000 conditions in a row", RIGHT + "if 0: pass\n" + "elif 0: pass\n" * 5000, ERROR, MEMORY, PASS),
    source("5,000 decorators", RIGHT + "@f\n" * 5000 + "def g(): pass", ERROR, MEMORY, PASS),
    source("texts in texts", RIGHT + "x = " + "f'{" * 300 + "1" + "}'" * 300, ERROR, MEMORY),
    source("a text that stays open", f"{RIGHT}x = '{'a' * 1_000_000}", ERROR),
    source(
        "a message of a megabyte",
        f"{RIGHT}def g({'x' * 1_000_000}):\n    global {'x' * 1_000_000}",
        ERROR,
        says=r"\A.{0,600}\Z",
    ),
    source("an integer of 100,000 digits", f"{RIGHT}x = {'7' * 100_000}", ERROR),
    source("null in the middle", f"{RIGHT}x = 1\0\n", ERROR),
    source("a name of nothing", f"{RIGHT}x = \u200b", ERROR),
    source("an unknown escape by name", RIGHT + "x = '\\N{NO SUCH CHARACTER}'", ERROR),
    source("more than 4 MB", f"{RIGHT}x = '{'a' * (4 << 20)}'", ERROR, says="exceed 4 MB"),
]

HEAVY = [
    source(
        "finally 19 deep", f"{RIGHT}def g(a):\n{FINALLY}{'  ' * 20}return 1", ERROR, MEMORY, TIMEOUT, PASS, limits=SLOW
    ),
    source("a huge power", f"{RIGHT}x = 2 ** (10 ** 9)", ERROR, MEMORY, TIMEOUT, PASS),
    source("a tower of powers", f"{RIGHT}x = 9 ** 9 ** 9 ** 9", ERROR, MEMORY, TIMEOUT),
    source("a huge shift", f"{RIGHT}x = 1 << (10 ** 10)", ERROR, MEMORY, TIMEOUT, limits=SLOW),
    source("a huge repetition", f"{RIGHT}x = 'a' * (10 ** 10)", MEMORY, limits=SLOW),
    source("repetitions of repetitions", f"{RIGHT}x = ((0,) * 10 ** 4) * 10 ** 8", MEMORY, limits=SLOW),
    source("a huge format", f"{RIGHT}x = '%1000000000d' % 1", MEMORY, limits=SLOW),
    source(
        "5,000 constants of 4 KB",
        RIGHT + "def g(): return (" + "".join(f"'{n:05}' * 800," for n in range(5_000)) + ")",
        ERROR,
        MEMORY,
        TIMEOUT,
        PASS,
        limits=SLOW,
    ),
    source("3 MB on one line", f"{RIGHT}x = [{'1,' * 1_500_000}]", ERROR, MEMORY, TIMEOUT, PASS, limits=SLOW),
    source(
        "20,000 functions",
        RIGHT + "".join(f"def g{n}(): pass\n" for n in range(20_000)),
        ERROR,
        MEMORY,
        TIMEOUT,
        PASS,
        limits=SLOW,
    ),
    source("100,000 warnings", RIGHT + "x = '\\d'\n" * 100_000, PASS, TIMEOUT, limits=SLOW),
]

HARMLESS = [
    source("a million empty lines", "\n" * 1_000_000 + RIGHT, PASS),
    source("50,000 joined lines", RIGHT + "x = 1 \\\n" * 1 + " + \\\n" * 1 + "\\\n" * 50_000 + "1", PASS),
    source("a name of a megabyte", f"{RIGHT}{'x' * 1_000_000} = 1", PASS),
    source("a comment of a megabyte", f"# {'x' * 1_000_000}\n{RIGHT}", PASS),
    source("a coding cookie", f"# -*- coding: latin-1 -*-\n{RIGHT}", PASS),
    source("a cookie of a coding that is none", f"# coding: zlib_codec\n{RIGHT}", PASS),
    source("an unknown cookie", f"# vim: set fileencoding=klingon :\n{RIGHT}", PASS),
    source("lines that end in a carriage return", "def f(x):\r    return 2 * x\r", PASS),
    source("form feeds", f"\f{RIGHT}\f", PASS),
    source("names that are normalised", "def \ufb01(x): return 2 * x\n", PASS, test="assert fi(2) == 4"),
    source("tabs", "def f(x):\n\treturn 2 * x\n", PASS),
    source("no end of line", RIGHT.strip(), PASS),
    source("an unknown escape", f"{RIGHT}x = '\\d'", PASS),
]

POISONED = [
    source(f"after {name}", program, PASS, before=before)
    for name, before, program in (
        (
            "an import from the future",
            "from __future__ import annotations, barry_as_FLUFL\nx = 1 <> 2",
            f"{RIGHT}x = 1 != 2",
        ),
        (
            "annotations as texts",
            "from __future__ import annotations",
            "def f(x: int): return 2 * x if f.__annotations__['x'] is int else 0",
        ),
        ("no Python", "def f(:", RIGHT),
        ("too many brackets", "(" * 100_000, RIGHT),
        ("a compiler's heavy load", HEAVY[0].program, RIGHT),
        ("30,000 new names", "\n".join(f"name_{n} = 1" for n in range(30_000)), RIGHT),
        ("the same with a fault", RIGHT.replace("return", "retrun"), RIGHT),
    )
]

SOURCES = REFUSED + HEAVY + HARMLESS + POISONED
