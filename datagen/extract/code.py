"""Takes the program out of a completion: tags, fences, prose, demonstrations and its own tests go, its layout stays."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from datagen.extract import blocks, naming, syntax, unittests
from datagen.extract.blocks import Block
from datagen.extract.syntax import Chunk
from datagen.models import Drop

CODE_REASONS: dict[str, str] = {
    "empty": "the model wrote nothing",
    "truncated": "max_tokens cut the program, or a part of it that the function needs",
    "unparsable": "no Python, or Python with a syntax error",
    "no-entry-point": "no function that could be meant by the name the tests call",
}
"""Every reason for which a candidate is no program: slug -> what it means."""

_QUOTES = str.maketrans("‘’‚‛“”„‟′″", "''''\"\"\"\"'\"")
_DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
_DEMO_NAMES = frozenset({"main", "demo", "example"})
_DEMO_MODULES = frozenset({"unittest", "doctest", "pytest"})
_DEMO_CALLS = frozenset({"print", "input", "exit", "quit"})


@dataclass(frozen=True, slots=True)
class Extracted:
    """A program that parses and defines the entry point; `notes` say what was changed besides leaving text out."""

    code: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """The part of a block that parses, and what was lost of it: why, and which definitions."""

    text: str
    tree: ast.Module
    why_lost: str = ""
    lost: frozenset[str] = frozenset()

    @property
    def defined(self) -> set[str]:
        return {name for node in self.tree.body for name in syntax.binds(node)}


def extract_code(text: str, entry: str, tests: Sequence[str] = (), *, cut: bool = False) -> Extracted | Drop:
    """The program that defines `entry`, or a Drop with a slug of CODE_REASONS.

    `tests` show how `entry` is called: a function of another name is taken for it only if it accepts those calls. `cut`
    says that max_tokens ended the completion: an unfinished definition is never taken for a whole one.
    """
    return _extract(syntax.normalise(text), entry, tuple(tests), cut)


@lru_cache(maxsize=64)
def _extract(text: str, entry: str, tests: tuple[str, ...], cut: bool) -> Extracted | Drop:
    """`extract_code`; a question's candidates are often the same text."""
    if not text.strip():
        return Drop("empty")
    drops: list[Drop] = []
    for variant, note in _variants(text):
        found = _extracted(variant, entry, tests, cut)
        if isinstance(found, Extracted):
            return replace(found, notes=(note, *found.notes)) if note else found
        drops.append(found)
    return replace(drops[0], text=text)


def _variants(text: str) -> Iterator[tuple[str, str]]:
    """The text as it is, then with what only a last resort may change."""
    yield text, ""
    if "\t" in text:
        yield text.expandtabs(4), "expanded tabs"
    if (straight := text.translate(_QUOTES)) != text:
        yield straight, "straightened quotes"


def _extracted(text: str, entry: str, tests: Sequence[str], cut: bool) -> Extracted | Drop:
    """The first reading of the text that gives a program, else the most telling of the failures."""
    drops: list[Drop] = []
    for reading in _readings(text):
        found = _program([_source(block, cut) for block in reading], entry, tests)
        if isinstance(found, Extracted):
            return found
        drops.append(found)
    order = ["truncated", "no-entry-point", "unparsable"]
    return min(drops, key=lambda drop: order.index(drop.reason))


def _readings(text: str) -> Iterator[list[Block]]:
    """Ways to read where the code is, the most explicit first: in tags, fences, between the outer fences, anywhere."""
    sections = blocks.tagged(text, "PYTHON")
    for section in (sections, [Block(text, closed=False)]):
        fenced = [replace(b, closed=b.closed or s.closed) for s in section for b in blocks.fenced(s.text)]
        python = [block for block in fenced if block.language in blocks.PYTHON]
        yield python or fenced
        yield [outer for s in section for outer in blocks.outermost(s.text)]
        yield [replace(s, text=blocks.unfenced(s.text)) for s in section]


def _source(block: Block, cut: bool) -> _Source:
    """What parses of a block; an end that max_tokens cut takes its last statement with it."""
    runs = syntax.chunks(_plain(block.text))
    kept = [run.text for run, after in zip(runs, [*runs[1:], None], strict=True) if _is_code(run, after)]
    broken = [run.text for run in runs if run.tree is None]
    cut = cut and not block.closed
    half = not block.closed and bool(runs) and runs[-1].tree is None and (cut or bool(_DEFINED.search(runs[-1].text)))
    if cut and not half and kept:
        kept[-1], last = _without_last(kept[-1])
        broken.append(last)
    why = "truncated" if half or cut else "unparsable" if broken else ""
    lost = frozenset(name for piece in broken for name in _DEFINED.findall(piece))
    source = "\n".join(kept)
    return _Source(source, syntax.parse(source) or ast.Module([], []), why, lost)


def _is_code(run: Chunk, after: Chunk | None) -> bool:
    """Whether a run parses and, if it is comments only, belongs to code below it: headings look like comments."""
    if run.tree is None or run.tree.body:
        return run.tree is not None
    return after is not None and after.tree is not None


def _plain(text: str) -> str:
    """Without a margin before the first line, and without the prompts of an interactive session."""
    text = re.sub(r"\A(?:[ \t]*\n)+", "", text)
    margin = len(text) - len(text.lstrip())
    if margin:  # a single space is how many tokenizers start a text: it belongs to the first line only
        text = text.lstrip() if margin == 1 else textwrap.dedent(text)
    if not text.startswith(">>>"):
        return text
    return "\n".join(line[4:] for line in text.split("\n") if line.startswith((">>>", "...")))


def _without_last(text: str) -> tuple[str, str]:
    """The text before its last statement, and that statement."""
    tree = syntax.parse(text)
    if tree is None or not tree.body:
        return text, ""
    first = syntax.span(tree.body[-1])[0]
    lines = text.split("\n")
    return "\n".join(lines[: first - 1]), "\n".join(lines[first - 1 :])


def _program(sources: list[_Source], entry: str, tests: Sequence[str]) -> Extracted | Drop:
    """The one block that defines the entry point, with those of the others that it needs."""
    main = next((s for s in sources if entry in s.defined), None)
    lost = {name for source in sources for name in source.lost}
    main = main or next((s for s in sources if any(map(syntax.is_definition, s.tree.body))), None)
    if main is None or (lost and entry not in main.defined):
        return Drop(_why(sources, found=main is not None, lost=lost))
    joined, notes = _joined(main, sources)
    fitted = naming.fit(_cleaned(joined, entry), entry, tests)
    if fitted is None:
        return Drop("no-entry-point")
    code = _cleaned(fitted.code, entry)
    if _unmet(code) & lost:
        return Drop(_why(sources, found=True, lost=lost))
    return Extracted(code, (*notes, *filter(None, [fitted.note])))


def _why(sources: list[_Source], *, found: bool, lost: set[str]) -> str:
    """The slug for a program that could not be taken whole."""
    reasons = {source.why_lost for source in sources}
    if found and not lost:
        return "no-entry-point"
    return "truncated" if "truncated" in reasons else "unparsable"


def _unmet(code: str) -> frozenset[str]:
    """Names that a program uses and nothing in it defines."""
    tree = syntax.parse(code)
    if tree is None:
        return frozenset()
    arguments = {a.arg for n in syntax.walk(tree) if isinstance(n, ast.arguments) for a in syntax.arguments(n)}
    return syntax.loads(tree) - syntax.stores(tree) - arguments - syntax.BUILTINS


def _joined(main: _Source, sources: list[_Source]) -> tuple[str, tuple[str, ...]]:
    """The main block and the blocks that define what it lacks, in their order."""
    needed = [source for source in sources if source is main or _unmet(main.text) & source.defined]
    text = "\n\n\n".join(source.text.strip("\n") for source in needed)
    return text, (f"joined {len(needed)} blocks",) if len(needed) > 1 else ()


def _cleaned(code: str, entry: str) -> str:
    """The program without top-level code that only shows or tests it, and without the comments that announce it."""
    tree = syntax.parse(code)
    if tree is None:
        return code
    kept = _kept(tree, entry)
    gone = [node for node in tree.body if node not in kept]
    if _share_lines(kept, gone):
        return syntax.written(ast.Module(kept, []))
    lines: list[str | None] = list(code.split("\n"))
    for node in reversed(gone):
        _erase(lines, *syntax.span(node), last=node is tree.body[-1])
    text = "\n".join(line for line in lines if line is not None)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip() if gone else text.strip()


def _share_lines(kept: list[ast.stmt], gone: list[ast.stmt]) -> bool:
    lines = {line for node in kept for line in range(syntax.span(node)[0], syntax.span(node)[1] + 1)}
    return any(first in lines or last in lines for first, last in map(syntax.span, gone))


def _erase(lines: list[str | None], first: int, last_line: int, *, last: bool) -> None:
    """Marks a statement's lines as gone, with the comments right above it; for the last statement also what follows."""
    start = first - 1
    while start > 0 and (lines[start - 1] or "").startswith("#"):
        start -= 1
    for index in range(start, len(lines) if last else last_line):
        lines[index] = None


def _kept(tree: ast.Module, entry: str) -> list[ast.stmt]:
    """Imports, definitions, and the statements that prepare names which those use."""
    kept = [node for node in tree.body if _is_program(node, entry)]
    needed = {entry} | {name for node in kept for name in syntax.loads(node)}
    imported = {name for node in kept if isinstance(node, ast.Import | ast.ImportFrom) for name in syntax.binds(node)}
    grown = True
    while grown:
        more = [node for node in tree.body if node not in kept and _prepares(node, needed | imported - _DEMO_MODULES)]
        kept += more
        needed |= {name for node in more for name in syntax.loads(node)}
        grown = bool(more)
    docstring = tree.body[:1] if ast.get_docstring(tree, clean=False) is not None else []
    return [node for node in tree.body if node in kept or node in docstring]


def _is_program(node: ast.stmt, entry: str) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return not syntax.binds(node) <= _DEMO_MODULES
    if not syntax.is_definition(node):
        return False
    return entry in syntax.binds(node) or not (unittests.is_test(node) or syntax.binds(node) & _DEMO_NAMES)


def _prepares(node: ast.stmt, needed: set[str]) -> bool:
    """Whether a statement binds or changes something needed, and neither shows, asks, asserts nor guards."""
    if syntax.is_main_guard(node) or any(isinstance(inner, ast.Assert) for inner in syntax.walk(node)):
        return False
    if set(syntax.called_names(node)) & _DEMO_CALLS:
        return False
    acted_on = syntax.roots(call.func for call in syntax.calls(node) if isinstance(call.func, ast.Attribute))
    return bool((syntax.binds(node) | acted_on) & needed)
