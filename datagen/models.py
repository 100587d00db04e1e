"""The data that moves between stages, and the two contracts (Engine, Sandbox) that stages are handed.

    PromptItem -> questions -> Question -> dedup -> Question -> solve -> Row -> decontaminate -> Row -> export

Every per-item stage answers each input with one `Outcome`; nothing disappears: what is not kept is a `Drop`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Generic, Protocol, TypeVar

from sandbox.contract import Job, Limits, Status, TestResult, Verdict

__all__ = [
    "REASONS", "Attempts", "Call", "Candidate", "Completion", "Drop", "Engine", "Job", "Limits", "Message", "Outcome",
    "PromptItem", "Question", "Request", "Row", "Sample", "Sampling", "Sandbox", "Say", "Status", "TestResult", "Usage",
    "Verdict", "content_id", "seed_for",
]  # fmt: skip

Say = Callable[[str], None]
"""Tells the person watching one line."""

REASONS: dict[str, str] = {
    # questions
    "unparsable": "the completion held no question, or nothing that could be read as one",
    "empty": "the model wrote nothing",
    "truncated": "the text was cut by max_tokens before it ended",
    "too-short": "fewer words than a question needs",
    "too-long": "more words than an interview question has; usually several run together",
    "repetition": "the model looped: the same question or phrase again and again",
    "not-english": "most letters or words are not English",
    "not-a-question": "the text asks for no function or program",
    "surplus": "more were made than asked for; kept when the target is raised",
    # dedup
    "exact-duplicate": "equal to a kept question after normalisation",
    "near-duplicate": "Jaccard similarity to a kept question at or over the threshold",
    # solve
    "tests-unparsable": "no test file held an assert that parses",
    "tests-too-few": "fewer usable tests than --min-tests",
    "tests-vacuous": "a stub that computes nothing passes every test",
    "tests-no-consensus": "too few tests agree with what the candidates compute",
    "solutions-unparsable": "no candidate held Python code that parses",
    "none-passed": "no candidate passed every test",
    "given-up": "the tests contradict each other, or no candidate of the first half passed any (--give-up)",
    "flaky": "the candidate passed once and failed under another seed",
    # decontaminate
    "contaminated": "overlaps an item of a benchmark",
    "unresolved": "whether it overlaps an item of a benchmark could not be decided",
    # every stage
    "engine-failed": "the engine failed on this item; it is owed again on the next run",
}
"""Every reason for which a text is dropped: slug -> what it means. Reports count by these."""


Kept = TypeVar("Kept")


def content_id(*parts: str) -> str:
    """16 hexadecimal digits (64 bits of BLAKE2b) that name this content."""
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "backslashreplace"), digest_size=8)
    return digest.hexdigest()


def seed_for(run_seed: int, stage: str, item_id: str, call: str) -> int:
    """The 62-bit seed of one call; sample i of it uses seed + i, so any order or batching draws the same samples."""
    return int(content_id(str(run_seed), stage, item_id, call), 16) >> 2


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample n texts; sample i is drawn with seed + i. temperature 0 is greedy."""

    n: int = 1
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """Messages for a chat model, or a raw prompt (which wins if given).

    Where the last message is the assistant's, the model goes on with it.
    """

    messages: tuple[Message, ...] = ()
    sampling: Sampling = Sampling()
    prompt: str | None = None

    def digest(self) -> str:
        """Names this request: equal for equal messages, prompt and sampling. Replayed calls are found by it."""
        return content_id(json.dumps(asdict(self), sort_keys=True))


@dataclass(frozen=True, slots=True)
class Sample:
    """One text; finish_reason is "stop" or "length"; reasoning is what stood between <think> tags."""

    text: str
    finish_reason: str = "stop"
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The n samples of a request, in order of their seeds, and what they cost in tokens."""

    samples: tuple[Sample, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Engine(Protocol):
    """A model that answers requests, many at once.

    `complete` returns exactly `sampling.n` samples or raises RequestFailed (this request is lost, others go on) or
    EngineUnavailable (nothing more can be asked of it). It may be called concurrently without bound: the engine
    queues what it cannot take. `close` frees the model.
    """

    @property
    def model(self) -> str: ...
    async def complete(self, request: Request) -> Completion: ...
    async def close(self) -> None: ...


class Sandbox(Protocol):
    """Runs an untrusted program against tests; SandboxError means that the sandbox, not the program, failed."""

    async def run(self, job: Job) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What an item cost: engine tokens and sandbox CPU seconds."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cpu_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cpu_seconds + other.cpu_seconds,
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """Why something was not kept: a slug of REASONS, the particulars, and the text itself."""

    reason: str
    detail: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class PromptItem:
    """One prompt of the questions stage: the index-th of the run, with what varies it."""

    id: str
    index: int
    round: int
    topic: str
    difficulty: str
    scenario: str


@dataclass(frozen=True, slots=True)
class Question:
    """A parsed question; id is the hash of its text, (prompt_index, position) the completion and place it stood in."""

    id: str
    question: str
    topic: str
    difficulty: str
    scenario: str
    round: int
    prompt_index: int
    position: int
    model: str


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded call to an engine: its step (questions, tests-0, solutions), the request's digest, the answer."""

    step: str
    request: str
    completion: Completion


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate solution and its row of the solution x test matrix (a status for each of Attempts.tests)."""

    index: int
    code: str
    status: str
    results: tuple[str, ...] = ()
    detail: str = ""
    n_passed: int = 0


@dataclass(frozen=True, slots=True)
class Attempts:
    """All that was tried for one item, kept or not: recorded calls, usable tests, dropped tests, candidates."""

    calls: tuple[Call, ...] = ()
    tests: tuple[str, ...] = ()
    dropped_tests: tuple[Drop, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    passed_plain: bool | None = None
    passed_consensus: bool | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A verified question-tests-solution triplet, as it is published (docs/dataset.md describes each column).

    n_passed, pass_rate and difficulty are None where the search for a solution stopped at the first one (--early-stop).
    """

    messages: tuple[Message, ...]
    id: str
    question: str
    solution: str
    tests: tuple[str, ...]
    shown_test: str
    entry_point: str
    n_candidates: int
    n_tried: int
    n_passed: int | None
    pass_rate: float | None
    chosen_index: int
    difficulty: str | None
    topic: str
    model: str
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Kept]):
    """A stage's answer to one input: what is kept, what is dropped and why, what was tried, what it cost.

    `parsed` counts the things the input turned into (1, or the number of listed questions); parsed == len(kept) +
    len(drops), always. `final` is False for an engine failure: the item is owed again on the next run.
    """

    source_id: str
    kept: tuple[Kept, ...] = ()
    drops: tuple[Drop, ...] = ()
    attempts: Attempts = field(default_factory=Attempts)
    usage: Usage = Usage()
    final: bool = True
