"""Finds the parts of a completion that were meant as code: between [TAG] and [/TAG], and inside Markdown fences."""

from __future__ import annotations

import re
from dataclasses import dataclass

PYTHON = frozenset({"", "python", "python3", "py", "py3", "pycon", "ipython"})
_FENCE = re.compile(r"^[ \t]*(?P<marks>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^`]*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a completion; `closed` is False where it runs to the end of the text without an end mark."""

    text: str
    language: str = ""
    closed: bool = True


def tagged(text: str, tag: str) -> list[Block]:
    """What stands between [TAG] and [/TAG]; an end may be missing, a start too if the end is there."""
    blocks: list[Block] = []
    start: int | None = None
    marks = list(re.finditer(rf"\[(/?){tag}\]", text, re.IGNORECASE))
    for index, mark in enumerate(marks):
        opens = not mark[1]
        if start is not None:
            blocks.append(Block(text[start : mark.start()]))
        elif index == 0 and not opens:
            blocks.append(Block(text[: mark.start()]))
        start = mark.end() if opens else None
    return blocks if start is None else [*blocks, Block(text[start:], closed=False)]


def fenced(text: str) -> list[Block]:
    """Non-blank fenced parts, with their language; a fence that names a language also ends the one before."""
    blocks: list[Block] = []
    lines: list[str] = []
    opener: re.Match[str] | None = None
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if fence is None or (opener is not None and not _ends(fence, opener)):
            lines.append(line)
            continue
        if opener is not None:
            blocks.append(_block(lines, opener, closed=True))
        opener = fence if opener is None or fence["language"] else None
        lines = []
    if opener is not None:
        blocks.append(_block(lines, opener, closed=False))
    return [block for block in blocks if block.text.strip()]


def _ends(fence: re.Match[str], opener: re.Match[str]) -> bool:
    """A fence of the same marks and at least their number, or one that opens another block."""
    same = fence["marks"][0] == opener["marks"][0] and len(fence["marks"]) >= len(opener["marks"])
    return same or bool(fence["language"])


def _block(lines: list[str], opener: re.Match[str], *, closed: bool) -> Block:
    return Block("\n".join(lines), opener["language"].lower(), closed)


def outermost(text: str) -> list[Block]:
    """Everything between the first and the last fence line as one block: for code that itself holds fence lines."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if _FENCE.match(line)]
    if len(fences) < 2:
        return []
    return [Block("\n".join(lines[fences[0] + 1 : fences[-1]]))]


def unfenced(text: str) -> str:
    """The text without its fence lines."""
    return "\n".join(line for line in text.split("\n") if not _FENCE.match(line))
