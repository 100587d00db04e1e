"""Asks the model for questions: each prompt lists many, varied by topic, difficulty and a made-up scenario.

The structure is that of the self-instruct set of Code Llama (arXiv 2308.12950, section 2.5 and appendix H): one chat
turn shows ten numbered examples and asks to go on numbering.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from faker import Faker

from datagen.config import QuestionsConfig
from datagen.errors import InputError, UsageError
from datagen.extract.questions import Piece, parse_questions
from datagen.models import (
    Attempts,
    Call,
    Engine,
    Outcome,
    PromptItem,
    Question,
    Request,
    Sampling,
    Usage,
    content_id,
    seed_for,
)
from datagen.prompts import Prompt

STAGE = "questions"
VARIABLES = ("topic", "field", "difficulty", "scenario", "count", "examples", "start")
"""What a questions prompt may use; `examples` is their numbered text, `start` the number to go on from."""

_FAKER = Faker("en_US", use_weighting=False)
_FIRST_YIELD = 0.8  # of the questions asked for, before anything was measured
_HEADROOM = 1.05
_SCENES = (
    "{keyword}, for a tool that {company} in {city} keeps its {noun} with",
    "{keyword}, as {article} {job} meets it at work",
    "{keyword}, in a small game that {name} writes about {noun}",
    "{keyword}, on the daily records of {company}",
    "{keyword}, with {noun} that come in from {city} as plain text",
    "{keyword}, in a course that {name}, {article} {job}, gives to beginners",
    "{keyword}, with {noun} as the running example",
    "{keyword}, where the data is small but messy and comes from {company}",
)
_NOUNS = (
    "invoices", "train tickets", "recipes", "football results", "sensor readings", "library loans", "parcels", "seats",
    "playlists", "exam grades", "bus stops", "bank transfers", "crossword clues", "garden plots", "flight legs",
    "e-mail headers", "chess moves", "hotel bookings", "votes", "weather reports", "shopping carts", "work shifts",
    "DNA strands", "support tickets", "map tiles", "phone numbers", "race times", "warehouse shelves", "log lines",
    "museum visits", "energy bills", "product reviews", "colour codes", "delivery routes", "quiz answers", "file names",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topic:
    """What a prompt asks about; the field it belongs to; keywords, one of which is drawn into each scenario."""

    name: str
    field: str
    keywords: tuple[str, ...]


def load_topics(path: Path) -> tuple[Topic, ...]:
    """The `[[topic]]` tables of a file, in order; InputError names the first one that lacks something."""
    tables = _tables(path, "topic")
    topics = tuple(_topic(index, table, path) for index, table in enumerate(tables, 1))
    if len({topic.name for topic in topics}) < len(topics):
        raise InputError("two topics have the same name", where=str(path), hint="Give each topic a name of its own")
    return topics


def load_examples(path: Path) -> tuple[str, ...]:
    """The questions that prompts show as examples: `question` of each `[[question]]` table, stripped."""
    tables = _tables(path, "question")
    texts = tuple(table.get("question") for table in tables)
    for index, text in enumerate(texts, 1):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"question {index} has no text", where=str(path), hint='Write question = "..." in its table'
            )
    return tuple(str(text).strip() for text in texts)


def _tables(path: Path, name: str) -> list[Mapping[str, Any]]:
    """The non-empty array of tables `name` of a TOML file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig")).get(name)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), hint="Check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=str(path), hint="Correct the file") from error
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"holds no [[{name}]] table", where=str(path), hint="See docs/questions.md")
    return tables


def _topic(index: int, table: Mapping[str, Any], path: Path) -> Topic:
    name, field, keywords = table.get("name"), table.get("field"), table.get("keywords")
    good = {
        "name": isinstance(name, str) and bool(name.strip()),
        "field": isinstance(field, str) and bool(field.strip()),
        "keywords": isinstance(keywords, list) and bool(keywords) and all(isinstance(word, str) for word in keywords),
    }
    if wrong := [key for key, is_good in good.items() if not is_good]:
        raise InputError(
            f"topic {index} ({name!r}) lacks {', '.join(wrong)}",
            where=str(path),
            hint='Each [[topic]] needs name = "...", field = "..." and keywords = ["...", ...]',
        )
    return Topic(str(name), str(field), tuple(keywords or ()))


def prompt_item(
    index: int,
    round: int,  # noqa: A002 - as the field of PromptItem that it fills
    *,
    seed: int,
    topics: Sequence[Topic],
    config: QuestionsConfig,
) -> PromptItem:
    """The index-th prompt of a run: the same for the same seed, topics and difficulties, in whatever order it is made.

    Every topic comes once before any comes twice, each time in another order; from one pass to the next a topic takes
    the next difficulty, and within a pass the difficulties are even to one. UsageError: there is no difficulty.
    """
    cycle, place = divmod(index, len(topics))
    number = _order(len(topics), seed, cycle)[place]
    levels = config.difficulties
    if not levels:
        raise UsageError("difficulties is empty", hint='Give at least one, such as difficulties = ["easy"]')
    rng_seed = seed_for(seed, STAGE, str(index), "scenario")
    return PromptItem(
        id=f"prompt-{index:07d}",
        index=index,
        round=round,
        topic=topics[number].name,
        difficulty=levels[(number + cycle + seed) % len(levels)],
        scenario=_scenario(topics[number].keywords, rng_seed),
    )


@lru_cache(maxsize=4)
def _order(n: int, seed: int, cycle: int) -> tuple[int, ...]:
    """The order in which the n topics come in this pass over them."""
    order = list(range(n))
    Random(seed_for(seed, STAGE, f"pass-{cycle}", "topics")).shuffle(order)
    return tuple(order)


def _scenario(keywords: Sequence[str], seed: int) -> str:
    """A keyword in a made-up situation; faker's names keep prompts of one topic apart."""
    _FAKER.seed_instance(seed)
    job = _FAKER.job().split(",")[0].lower()
    return str(_FAKER.random.choice(_SCENES)).format(
        keyword=_FAKER.random.choice(list(keywords)),
        noun=_FAKER.random.choice(_NOUNS),
        company=_FAKER.company(),
        city=_FAKER.city(),
        name=_FAKER.first_name(),
        job=job,
        article="an" if job[:1] in "aeiou" else "a",
    )


async def questions(
    item: PromptItem,
    *,
    engine: Engine,
    prompt: Prompt,
    config: QuestionsConfig,
    topics: Sequence[Topic],
    examples: Sequence[str],
    seed: int,
) -> Outcome[Question]:
    """Asks once and answers with every question that the completion lists, kept or dropped with a reason.

    `topics` tells the field of the item's topic, `examples` is what the shown ones are drawn from. Raises RequestFailed
    or EngineUnavailable as the engine does.
    """
    shown = _shown(item, examples, config, seed)
    messages = prompt.render(**_values(item, topics, shown, config))
    request = Request(messages, _sampling(prompt, config, seed_for(seed, STAGE, item.id, STAGE)))
    completion = await engine.complete(request)
    pieces = parse_questions(
        completion.samples[0].text,
        truncated=completion.samples[0].finish_reason == "length",
        min_words=config.min_words,
        max_words=config.max_words,
        known=shown if "examples" in prompt.variables else (),
    )
    return Outcome(
        source_id=item.id,
        kept=tuple(_question(item, piece, engine.model) for piece in pieces if not piece.drop),
        drops=tuple(piece.drop for piece in pieces if piece.drop),
        attempts=Attempts(calls=(Call(STAGE, request.digest(), completion),)),
        usage=Usage(completion.prompt_tokens, completion.completion_tokens),
    )


def _values(
    item: PromptItem, topics: Sequence[Topic], shown: Sequence[str], config: QuestionsConfig
) -> dict[str, str | int]:
    """The value of each of VARIABLES."""
    return {
        "topic": item.topic,
        "field": next((topic.field for topic in topics if topic.name == item.topic), "programming"),
        "difficulty": item.difficulty,
        "scenario": item.scenario,
        "count": config.per_prompt,
        "examples": "\n".join(f"{number}. {text}" for number, text in enumerate(shown, 1)),
        "start": len(shown) + 1,
    }


def _shown(item: PromptItem, examples: Sequence[str], config: QuestionsConfig, seed: int) -> list[str]:
    """The examples of this prompt, drawn by the seed; all of them, in a drawn order, where there are too few."""
    rng = Random(seed_for(seed, STAGE, item.id, "examples"))
    return rng.sample(list(examples), min(config.examples, len(examples)))


def _sampling(prompt: Prompt, config: QuestionsConfig, seed: int) -> Sampling:
    given = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
    chosen = dict(prompt.sampling) | {name: value for name, value in given.items() if value is not None}
    return Sampling(n=1, seed=seed, **chosen)


def most(prompt: Prompt, config: QuestionsConfig) -> dict[str, int]:
    """How many tokens one item can write, by step."""
    return {STAGE: _sampling(prompt, config, 0).max_tokens}


def _question(item: PromptItem, piece: Piece, model: str) -> Question:
    return Question(
        id=content_id(piece.text),
        question=piece.text,
        topic=item.topic,
        difficulty=item.difficulty,
        scenario=item.scenario,
        round=item.round,
        prompt_index=item.index,
        position=piece.position,
        model=model,
    )


def next_round(have: int, want: int, generated: int, prompts_done: int, config: QuestionsConfig) -> int:
    """How many prompts the next round issues; 0: done, or the budget is spent.

    have of the `want` questions are there, out of `generated` raw ones of `prompts_done` prompts. The first round
    assumes that 80 % of the questions asked for are usable; later rounds take the measured yield with 5 % headroom, and
    as many prompts again while nothing is usable. `max_generated` (0: four times `want`) caps the raw questions, to
    within one prompt's. A model that has listed nothing at all is asked no further. UsageError: per_prompt is under 1.
    """
    if config.per_prompt < 1:
        raise UsageError(f"per_prompt is {config.per_prompt}", hint="Ask for 1 or more questions in a prompt")
    budget = (config.max_generated or 4 * want) - generated
    if have >= want or budget <= 0 or (prompts_done and not generated):
        return 0
    if not prompts_done:
        return math.ceil(min((want - have) / (config.per_prompt * _FIRST_YIELD), budget / config.per_prompt))
    needed = (want - have) * prompts_done / have * _HEADROOM if have else prompts_done
    return math.ceil(min(needed, budget * prompts_done / generated))
