"""Programs to measure sandboxes on: functions of about ten lines, as a model writes them, or of one expression; no two
alike, each with five asserts.

In every block of BLOCK programs 60 % pass all asserts, 30 % compute something else, 10 % raise: any whole number of
blocks has the same mix, so that runners of different speed can be given different amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from textwrap import dedent

KINDS = ("pass",) * 6 + ("fail",) * 3 + ("raise",)
TESTS = 5


@dataclass(frozen=True, slots=True)
class Program:
    """A source, its asserts, and whether it passes them all."""

    source: str
    tests: tuple[str, ...]
    passes: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A function with a number in it, the line that a wrong variant has otherwise, and arguments to call it with."""

    source: str
    right: str
    wrong: str
    arguments: Callable[[Random], tuple[object, ...]]


def _numbers(random: Random) -> list[int]:
    return [random.randint(-50, 50) for _ in range(random.randint(4, 12))]


def _words(random: Random) -> list[str]:
    return ["".join(random.choices("abcdeiou", k=random.randint(2, 7))) for _ in range(random.randint(4, 9))]


def _text(random: Random) -> str:
    return " ".join(_words(random))


def _template(source: str, right: str, wrong: str, arguments: Callable[[Random], tuple[object, ...]]) -> Template:
    return Template(dedent(source).lstrip(), right, wrong, arguments)


TEMPLATES = (
    _template(
        '''
        def weighted_vowels(text: str) -> int:
            """Count the vowels of a text; every vowel after the first weighs NUMBER."""
            vowels = set("aeiou")
            total = 0
            for character in text.lower():
                if character in vowels:
                    total += NUMBER if total else 1
            return total
        ''',
        "return total",
        "return total + len(text) % 2 + 1",
        lambda random: (_text(random),),
    ),
    _template(
        '''
        def longest_run(numbers: list[int]) -> list[int]:
            """The longest run of neighbours that differ by at most the last digits of NUMBER."""
            best, current = [], []
            for number in numbers:
                if current and abs(number - current[-1]) > NUMBER % 40:
                    current = []
                current = [*current, number]
                if len(current) > len(best):
                    best = current
            return best
        ''',
        "return best",
        "return current[:-1]",
        lambda random: (_numbers(random),),
    ),
    _template(
        '''
        from collections import Counter

        def most_common(words: list[str], k: int) -> list[tuple[str, int]]:
            """The k letters that occur most, each with its count and NUMBER."""
            counts = Counter()
            for word in words:
                counts.update(word)
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            return [(letter, count + NUMBER) for letter, count in ranked[:k]]
        ''',
        "ranked[:k]]",
        "ranked[: k + 1]]",
        lambda random: (_words(random), random.randint(1, 2)),
    ),
    _template(
        '''
        def primes_between(low: int, width: int) -> list[int]:
            """The primes from low plus the last digits of NUMBER on, in a window of a width."""
            start = NUMBER % 90 + low
            stop = start + width
            sieve = [True] * stop
            for candidate in range(2, int(stop**0.5) + 1):
                if sieve[candidate]:
                    for multiple in range(candidate * candidate, stop, candidate):
                        sieve[multiple] = False
            return [n for n in range(max(2, start), stop) if sieve[n]]
        ''',
        "range(max(2, start), stop) if sieve[n]]",
        "range(max(2, start), stop) if not sieve[n]]",
        lambda random: (random.randint(1, 50), random.randint(10, 60)),
    ),
    _template(
        '''
        def rotate(matrix: list[list[int]], turns: int) -> list[list[int]]:
            """The matrix, turned clockwise by quarter turns, its corner raised by NUMBER."""
            for _ in range(turns % 4):
                matrix = [list(row) for row in zip(*matrix[::-1])]
            matrix = [list(row) for row in matrix]
            matrix[0][0] += NUMBER
            return matrix
        ''',
        "return matrix",
        "return matrix[1:]",
        lambda random: ([[random.randint(0, 9) for _ in range(3)] for _ in range(3)], random.randint(1, 5)),
    ),
    _template(
        '''
        import math

        def summary(numbers: list[int]) -> dict[str, float]:
            """Mean, spread and the sum's remainder by NUMBER."""
            mean = sum(numbers) / len(numbers)
            variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
            return {"mean": round(mean, 3), "spread": round(math.sqrt(variance), 3), "rest": sum(numbers) % NUMBER}
        ''',
        "/ len(numbers)\n    return",
        "/ (len(numbers) + 1)\n    return",
        lambda random: (_numbers(random),),
    ),
    _template(
        '''
        def caesar(text: str, key: int) -> str:
            """Move every letter on by key and NUMBER places."""
            result = []
            for character in text:
                if character.isalpha():
                    result.append(chr((ord(character) - ord("a") + key + NUMBER) % 26 + ord("a")))
                else:
                    result.append(character)
            return "".join(result)
        ''',
        'return "".join(result)',
        'return "".join(result).upper()',
        lambda random: (_text(random), random.randint(1, 25)),
    ),
    _template(
        '''
        from functools import cache

        def ways(total: int, coins: list[int]) -> int:
            """In how many ways coins add up to a total, plus NUMBER."""
            @cache
            def count(rest: int, kinds: int) -> int:
                if rest == 0:
                    return 1
                if rest < 0 or kinds == 0:
                    return 0
                return count(rest, kinds - 1) + count(rest - coins[kinds - 1], kinds)
            return count(total, len(coins)) + NUMBER
        ''',
        "return count(total, len(coins))",
        "return count(total + 1, len(coins)) + 1",
        lambda random: (random.randint(8, 25), [1, 2, random.choice([3, 4, 5])]),
    ),
    _template(
        '''
        def balanced(text: str) -> int:
            """How deep brackets nest, times NUMBER; -1 if they do not match."""
            pairs = {")": "(", "]": "["}
            stack, deepest = [], 0
            for character in text:
                if character in "([":
                    stack.append(character)
                    deepest = max(deepest, len(stack))
                elif character in pairs and (not stack or stack.pop() != pairs[character]):
                    return -1
            return -1 if stack else deepest * NUMBER
        ''',
        "deepest * NUMBER",
        "(deepest + 1) * NUMBER",
        lambda random: ("".join(random.choice(["()", "([])", "[[]]", "a"]) for _ in range(random.randint(2, 6))),),
    ),
    _template(
        '''
        class Stack:
            """A stack that keeps its greatest element at hand."""

            def __init__(self, floor: int) -> None:
                self.items, self.tops = [], [floor]

            def push(self, item: int) -> None:
                self.items.append(item)
                self.tops.append(max(item, self.tops[-1]))

        def tops(numbers: list[int]) -> list[int]:
            """The greatest number so far after each, not below a floor drawn from NUMBER."""
            stack = Stack(NUMBER % 40 - 40)
            for number in numbers:
                stack.push(number)
            return stack.tops[1:]
        ''',
        "return stack.tops[1:]",
        "return stack.tops",
        lambda random: (_numbers(random),),
    ),
    _template(
        '''
        def merge(spans: list[list[int]]) -> list[list[int]]:
            """Join spans that overlap or are at most a digit of NUMBER apart."""
            joined = []
            for low, high in sorted(spans):
                if joined and low <= joined[-1][1] + NUMBER % 7:
                    joined[-1][1] = max(joined[-1][1], high)
                else:
                    joined.append([low, high])
            return joined
        ''',
        "return joined",
        "return joined[::-1] + [[]]",
        lambda random: ([[low, low + random.randint(0, 9)] for low in random.sample(range(100), 6)],),
    ),
    _template(
        '''
        import re

        def fields(line: str) -> dict[str, int]:
            """The name=value pairs of a line, each value raised by NUMBER."""
            found = {}
            for name, value in re.findall(r"(\\w+)=(\\d+)", line):
                found[name] = int(value) + NUMBER
            return found
        ''',
        "return found",
        "return {**found, '': 0}",
        lambda random: (" ".join(f"{word}={random.randint(0, 99)}" for word in _words(random)),),
    ),
)


def _short(
    head: str, about: str, right: str, wrong: str, arguments: Callable[[Random], tuple[object, ...]]
) -> Template:
    return Template(f'def {head}:\n    """{about}"""\n    return {right}\n', right, wrong, arguments)


SHORT_TEMPLATES = (
    _short("scaled(numbers)", "Each times NUMBER.", "[n * NUMBER for n in numbers]", "[n for n in numbers]",
           lambda random: (_numbers(random),)),
    _short("evens(numbers)", "The even ones, and NUMBER.", "[n for n in numbers if n % 2 == 0] + [NUMBER]",
           "[n for n in numbers if n % 2] + [NUMBER]", lambda random: (_numbers(random),)),
    _short("shout(text)", "In capitals, with NUMBER behind it.", "text.upper() + str(NUMBER)", "text + str(NUMBER)",
           lambda random: (_text(random),)),
    _short("lengths(words)", "Each word's length by word, raised by NUMBER.", "{w: len(w) + NUMBER for w in words}",
           "{w: len(w) for w in words}", lambda random: (_words(random),)),
    _short("spread(numbers)", "Greatest minus least plus NUMBER.", "max(numbers) - min(numbers) + NUMBER",
           "max(numbers) + min(numbers)", lambda random: (_numbers(random),)),
    _short("last_first(text)", "Reversed, cut after NUMBER.", "text[::-1][:NUMBER]", "text[:NUMBER] + '.'",
           lambda random: (_text(random),)),
    _short("power(base, exponent)", "The power's rest by NUMBER.", "base**exponent % NUMBER", "base * exponent - 1",
           lambda random: (random.randint(2, 99), random.randint(2, 9))),
    _short("joined(words)", "Sorted, NUMBER between.", "str(NUMBER).join(sorted(words))", "str(NUMBER).join(words)",
           lambda random: (_words(random),)),
    _short("squares(count)", "The sum of so many squares and NUMBER.", "sum(n * n for n in range(count)) + NUMBER",
           "sum(range(count))", lambda random: (random.randint(5, 60),)),
    _short("unique(words)", "The letters in order, and NUMBER.", "sorted(set(''.join(words))), NUMBER",
           "sorted(''.join(words)), NUMBER", lambda random: (_words(random),)),
    _short("paired(numbers)", "Neighbours' sums by NUMBER.", "[a + b % NUMBER for a, b in zip(numbers, numbers[1:])]",
           "[a - b for a, b in zip(numbers, numbers)]", lambda random: (_numbers(random),)),
    _short("digits(number)", "The sum of the digits of the number and NUMBER.",
           "sum(int(d) for d in str(number + NUMBER))", "len(str(number))", lambda random: (random.randint(10, 9999),)),
)  # fmt: skip
"""Functions of one expression."""
BLOCK = len(TEMPLATES) * len(KINDS)
assert len(SHORT_TEMPLATES) == len(TEMPLATES)  # a block is as large


def programs(seed: int, blocks: int, templates: Sequence[Template] = TEMPLATES) -> Iterator[Program]:
    """Blocks of distinct programs in random order; another seed gives other programs.

    A block has a question from each template, and ten candidates for each, which face the same tests.
    """
    for block in range(blocks):
        random = Random(f"{seed} {block}")
        found = [program for template in templates for program in _question(template, seed * 97 + block, random)]
        random.shuffle(found)
        yield from found


def with_loops(plain: list[Program], every: int) -> list[Program]:
    """The same programs, one in `every` replaced by one that never ends, at places that fall to different cores."""
    changed = list(plain)
    for number in range(len(plain) // every):
        source = f"def f(x):\n    while x == x:\n        x += {number}\n    return x\n"
        changed[number * every + number % every] = Program(source, ("assert f(1) == 1",), passes=False)
    return changed


def _question(template: Template, block: int, random: Random) -> list[Program]:
    number = 1000 + block
    sources = {kind: _variant(template, kind).replace("NUMBER", str(number)) for kind in set(KINDS)}
    calls = [template.arguments(random) for _ in range(TESTS)]
    expected = [_result(sources["pass"], call) for call in calls]
    if expected == [_result(sources["fail"], call) for call in calls]:
        return _question(template, block, random)  # the wrong variant happens to be right on these arguments
    name = _name(sources["pass"])
    tests = tuple(f"assert {name}{_arguments(call)} == {value!r}" for call, value in zip(calls, expected, strict=True))
    return [Program(f"ANSWER = {place}\n\n{sources[kind]}", tests, kind == "pass") for place, kind in enumerate(KINDS)]


def _variant(template: Template, kind: str) -> str:
    if kind == "pass":
        return template.source
    if kind == "fail":
        return template.source.replace(template.right, template.wrong)
    head, _, body = template.source.rpartition('"""\n')
    return f'{head}"""\n    limits = {{"low": NUMBER}}["high"]\n{body}'


def _name(source: str) -> str:
    """The last function at the top level."""
    return source[source.rindex("\ndef ") + 5 if "\ndef " in source else 4 :].split("(")[0]


def _arguments(call: tuple[object, ...]) -> str:
    return f"({', '.join(map(repr, call))})"


def _result(source: str, call: tuple[object, ...]) -> object:
    scope: dict[str, object] = {}
    exec(f"{source}\nresult = {_name(source)}{_arguments(call)}", scope)
    return scope["result"]
