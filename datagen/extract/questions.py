"""Reads the questions out of a completion that was asked for a numbered list of them.

A 7B model numbers as it likes, greets first, adds headings, answers its own questions, loops, and is cut in the middle
of a sentence. Every entry of the list comes out, kept or with the reason why not.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from datagen.extract.language import foreign, loops
from datagen.extract.outline import FENCE, HEADING, Line, Marker, asks, lines_of, markers_of, starts_of
from datagen.models import Drop

_ARTIFACT = re.compile(
    r"^[ \t]*(?:\[/?INST\]|</?s>|<\|\w+\|>)+|(?:\[/?INST\]|</?s>|<\|\w+\|>)+[ \t]*$",
    re.MULTILINE,
)
_CHAT = re.compile(
    r"^[*_#\s]*(?:sure|certainly|of course|ok(?:ay)?|great|absolutely|here (?:is|are)|here's|below (?:is|are)|"
    r"the following|i(?:'m| am) (?:sorry|unable)|i (?:cannot|can't|apologi[sz]e)|sorry|as an? (?:ai|language)|thank)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"^[*_\s]*(?:(?:please )?let me know|i hope|hope (?:this|these|that)|(?:please )?feel free|"
    r"(?:please )?note(?: that|:) (?:these|the above)|these (?:questions|problems|are (?:just|some|only|all|the|\d+))|"
    r"good luck|happy coding|would you like|do you want|that(?:'s| is) (?:all|it)|that concludes|thank|"
    r"i can (?:also )?(?:provide|write|give|make)|if you (?:need|have any|want|would like) (?:more|any|questions|me)|"
    r"end of (?:the )?(?:list|questions)|the above (?:list|questions|are)|(?:all|each) of these|in conclusion)\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"^[ \t>*_#-]*(?:(?:(?:sample|example|possible|suggested|model|python|reference) )?(?:answer|solution|ans)"
    r"(?: ?#?\d+)?(?: in python)?[*_]*[ \t]*(?:[:.][*_]*|$)"
    r"|here(?:'s| is| are) (?:an?|the|one|my|some) (?:\w+ ){0,3}(?:solution|implementation|answer)s?\b)",
    re.IGNORECASE,
)
_SHORT_ANSWER = re.compile(r"^[ \t>*_]*a\d*[*_]*:", re.IGNORECASE)
_NO_QUESTION = re.compile(
    r"^\W*(?:conclusions?|summary|thank(?:s| you)[\w ,]*|end(?: of(?: the)? (?:questions|list))?|introduction|"
    r"references|(?:easy|medium|hard)(?: level)?(?: questions| problems)?|good luck|notes?)\W*$",
    re.IGNORECASE,
)
_THEORY = re.compile(
    r"^\W*(?:what (?:is|are) (?:an?\b|the (?:difference|advantage|disadvantage|benefit|purpose|use|role|meaning|"
    r"(?:time|space) complexit(?:y|ies)|syntax)s?\b)|"
    r"explain|describe|discuss|why|what does .{1,40} mean|when (?:would|should) you)\b",
    re.IGNORECASE,
)
_BUILDS = re.compile(
    r"\b(?:write|implement|creat\w+|functions?|program|script|return\w*|comput\w+|calculat\w+|given|takes|code)\b",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"\?|>>>|`[^`]+`|\w\(|\b(?:writ\w+|implement\w*|creat\w+|defin\w+|design\w*|develop\w*|build\w*|construct\w*|"
    r"generat\w+|given|functions?|programs?|scripts?|methods?|class|algorithms?|code|return\w*|print\w*|output\w*|input|"
    r"takes?|accepts?|find\w*|comput\w+|calculat\w+|determin\w+|check\w*|count\w*|convert\w*|sort\w*|revers\w+|"
    r"remov\w+|delet\w+|insert\w*|add|sum|multiply|divide|subtract|merg\w+|join\w*|concatenat\w+|combin\w+|filter\w*|"
    r"select\w*|pars\w+|validat\w+|verify|simulat\w+|solve\w*|reads?|replac\w+|swap\w*|rotat\w+|shift\w*|split\w*|"
    r"group\w*|extract\w*|format\w*|encod\w+|decod\w+|encrypt\w*|compress\w*|expand\w*|flatten\w*|round|compar\w+|"
    r"evaluat\w+|transform\w*|translat\w+|identif\w+|list|display|get|make|search\w*|track\w*|store|update|arrang\w+|"
    r"assign\w*|schedul\w+|estimat\w+|model|how (?:do|would|can|many|much))\b",
    re.IGNORECASE,
)
_PROGRAM = re.compile(r"\s*(?:def \w+\(|class \w+[(:]|import \w|from \w+ import|@\w|#|>>>|print\()")


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of the list: its 0-based place, its text without number and answer, and, if it is not kept, why."""

    position: int
    text: str
    drop: Drop | None = None


@dataclass(frozen=True, slots=True)
class _Text:
    """A cleaned text; answered: an answer after it was cut off, so it is not the question that max_tokens cut."""

    text: str
    answered: bool = False


def parse_questions(
    text: str, *, truncated: bool, min_words: int, max_words: int, known: Iterable[str] = ()
) -> tuple[Piece, ...]:
    """Every entry of the list in `text`, in order, kept or with the reason why not; at least one, whatever the text is.

    truncated: max_tokens ended the completion, so its last question is dropped (unless only an answer to it was cut).
    known: questions that the prompt showed; repeating one counts as repetition. Numbers, greetings, headings between
    questions and answers are removed; the rest of the text is kept as it is written. Never raises.
    """
    texts = _texts(_ARTIFACT.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    if not texts:
        return (Piece(0, "", _no_list(text, truncated)),)
    seen = {_key(question): "an example of the prompt" for question in known}
    pieces: list[Piece] = []
    for position, found in enumerate(texts):
        cut = truncated and position == len(texts) - 1 and not found.answered
        drop = _drop(found, seen, cut=cut, min_words=min_words, max_words=max_words)
        pieces.append(Piece(position, found.text, drop))
        seen.setdefault(_key(found.text), f"entry {position + 1} of the list")
    return tuple(pieces)


def _no_list(text: str, truncated: bool) -> Drop:
    """The drop of a completion in which nothing reads as a question."""
    detail = "cut by max_tokens" if truncated else ""
    if not text.strip():
        return Drop("empty", detail)
    if loops(text):
        return Drop("repetition", detail or "a phrase loops", text)
    if foreign(text):
        return Drop("not-english", detail, text)
    return Drop("unparsable", detail or "no numbered list and no question", text)


def _drop(found: _Text, seen: Mapping[str, str], *, cut: bool, min_words: int, max_words: int) -> Drop | None:
    """Why this text is not kept; None: it is kept."""
    text, n_words = found.text, len(found.text.split())
    note = "; an answer after it was cut off" if found.answered else ""
    reasons = (
        ("repetition", loops(text), "a phrase loops"),
        ("repetition", bool(text) and _key(text) in seen, f"same as {seen.get(_key(text))}"),
        ("truncated", cut, f"last of the list, cut by max_tokens after {n_words} words"),
        ("not-english", foreign(text), "other letters or words"),
        ("not-a-question", bool(_NO_QUESTION.match(text)), "a heading"),
        ("too-short", n_words < min_words, f"{n_words} words, at least {min_words} are needed"),
        ("too-long", n_words > max_words, f"{n_words} words, at most {max_words} are allowed"),
        ("not-a-question", not _TASK.search(text), "asks for nothing to be done"),
        ("not-a-question", bool(_THEORY.match(text)) and not _BUILDS.search(text), "asks for an explanation"),
    )
    return next((Drop(reason, detail + note, text) for reason, applies, detail in reasons if applies), None)


def _key(text: str) -> str:
    """The text as it is compared within a completion: without regard to case and white space."""
    return " ".join(text.casefold().split())


def _texts(text: str) -> list[_Text]:
    lines = lines_of(text)
    markers = markers_of(lines)
    if not markers and any(line.fenced for line in lines):
        bare = [Line("" if FENCE.match(line.text) else line.text) for line in lines]
        if markers := markers_of(bare):  # the whole list stands in a fence
            lines = bare
    if not markers:
        return _unnumbered(lines)
    starts = starts_of(markers)
    ends = [start.line for start in starts[1:]] + [len(lines)]
    listed = [
        _clean(_entry(lines, start, end), last=end == len(lines), labelled=start.labelled)
        for start, end in zip(starts, ends, strict=True)
    ]
    return _unnumbered(lines[: starts[0].line], lead=True) + listed


def _entry(lines: Sequence[Line], start: Marker, end: int) -> list[Line]:
    """The lines from a marker to the next, without the number and without the emphasis that began before it."""
    rows = [Line(start.body), *lines[start.line + 1 : end]]
    closing = (index for index, row in enumerate(rows) if not row.fenced and start.mark in row.text)
    if start.mark and (index := next(closing, None)) is not None:
        rows[index] = replace(rows[index], text=rows[index].text.replace(start.mark, "", 1))
    return rows


def _clean(lines: Sequence[Line], *, last: bool, labelled: bool = False) -> _Text:
    """The question alone: without the answer, headings and farewell after it, continuation lines dedented."""
    answer = _answer_at(lines, labelled)
    kept = _trimmed(lines[:answer] if answer else lines, last=last and not answer)
    head, *tail = [line.text for line in kept] or [""]
    return _Text(_unwrapped(f"{head.rstrip()}\n{textwrap.dedent(chr(10).join(tail))}".strip()), answered=answer > 0)


def _answer_at(lines: Sequence[Line], labelled: bool) -> int:
    """The line at which the model begins to answer; 0: nowhere (the first line with text is the question's)."""
    first = next((index for index, line in enumerate(lines) if line.text.strip()), len(lines))
    for index, line in enumerate(lines[first + 1 :], first + 1):
        if FENCE.match(line.text):
            if _is_solution(lines, index):
                return index
        elif not line.fenced and (_ANSWER.match(line.text) or (labelled and _SHORT_ANSWER.match(line.text))):
            return index
    return 0


def _is_solution(lines: Sequence[Line], fence: int) -> bool:
    """Whether the code from this fence on is an answer: a function with a result, which no colon before announces."""
    end = next((index for index in range(fence + 1, len(lines)) if FENCE.match(lines[index].text)), len(lines))
    code = "\n".join(line.text for line in lines[fence + 1 : end])
    before = next((line.text.rstrip(" \t*_") for line in reversed(lines[:fence]) if line.text.strip()), "")
    defines = re.search(r"^[ \t]*def \w+", code, re.MULTILINE) and re.search(r"^[ \t]+return\b", code, re.MULTILINE)
    return bool(defines) and not before.endswith((":", "`"))


def _trimmed(lines: Sequence[Line], *, last: bool) -> list[Line]:
    """Without blank lines, rules and headings at the end and, in the last entry, without a farewell."""
    kept = list(lines)
    while len(kept) > 1:
        if not kept[-1].text.strip() or (not kept[-1].fenced and HEADING.match(kept[-1].text)):
            kept.pop()
        elif last and (farewell := _farewell(kept)):
            del kept[farewell:]
        else:
            break
    return kept


def _farewell(lines: Sequence[Line]) -> int:
    """Where a last paragraph like "Let me know if ..." begins; 0: there is none."""
    start = len(lines) - 1
    while start > 0 and lines[start - 1].text.strip():
        start -= 1
    return start if not lines[start].fenced and _CLOSING.match(lines[start].text) else 0


def _unwrapped(text: str) -> str:
    """Without emphasis around the whole text, or left over at its end."""
    for mark in ("***", "**", "__"):
        if text.startswith(mark) and text.endswith(mark) and text.count(mark) == 2:
            return text[len(mark) : -len(mark)].strip()
        if text.endswith(mark) and text.count(mark) == 1:
            return text[: -len(mark)].strip()
    return text


def _unnumbered(lines: Sequence[Line], *, lead: bool = False) -> list[_Text]:
    """Questions without any marker: one in each line, or one from each paragraph that asks to the next such paragraph.

    lead: the lines stand before a numbered list; only what clearly asks is a question there (a model that is shown
    "11." at the end of the prompt goes on without a number).
    """
    rows = [index for index, line in enumerate(lines) if line.text.strip() and not _is_chat(line.text)]
    opening = [index for index in rows if not lines[index].fenced and asks(lines[index].text)]
    if opening and all(_is_sentence(lines[index]) for index in rows) and 2 * len(opening) >= len(rows):
        opening = rows
    else:
        opening = [index for index in opening if index - 1 not in rows]
    if not opening and not lead and _one_paragraph(lines, rows):
        opening = rows[:1]
    ends = [*opening[1:], len(lines)] if opening else []
    return [_clean(lines[start:end], last=end == len(lines)) for start, end in zip(opening, ends, strict=True)]


def _is_chat(row: str) -> bool:
    """A greeting or an announcement of the list."""
    return bool(_CHAT.match(row)) or (row.rstrip(" *_").endswith(":") and "question" in row.lower())


def _is_sentence(line: Line) -> bool:
    return not line.fenced and line.text.rstrip(" *_")[-1:] in (".", "?", "!") and len(line.text.split()) >= 5


def _one_paragraph(lines: Sequence[Line], rows: Sequence[int]) -> bool:
    """Whether these lines follow each other, are prose and ask for something."""
    text = " ".join(lines[index].text for index in rows)
    together = bool(rows) and rows[-1] - rows[0] == len(rows) - 1
    return together and bool(_TASK.search(text)) and not _PROGRAM.match(text) and len(text.split()) >= 5
