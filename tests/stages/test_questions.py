"""The questions stage: which prompts are made, what one completion becomes, how many prompts a round takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.config import QuestionsConfig
from datagen.errors import InputError, RequestFailed, UsageError
from datagen.models import Completion, Outcome, PromptItem, Question, Request, Sample, content_id
from datagen.prompts import load_prompt, prompt_folders
from datagen.resources import resource
from datagen.stages.questions import (
    VARIABLES,
    Topic,
    load_examples,
    load_topics,
    next_round,
    prompt_item,
    questions,
)

CONFIG = QuestionsConfig()
TOPICS = tuple(Topic(f"topic {n}", f"field {n % 3}", (f"keyword {n}a", f"keyword {n}b")) for n in range(7))
EXAMPLES = tuple(f"Write the function number {n} of the examples, please." for n in range(30))
PROMPT = load_prompt("questions", prompt_folders(), VARIABLES)
LISTING = (
    "11. Write a function that adds two numbers.\n12. Two Sum\n13. Given a list, return its largest item.\n14. Write"
)


class Engine:
    """Answers every request with one text and remembers what was asked."""

    model = "test-model"

    def __init__(self, text: str = LISTING, finish_reason: str = "length") -> None:
        self.sample = Sample(text, finish_reason)
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return Completion((self.sample,), prompt_tokens=700, completion_tokens=40)

    async def close(self) -> None: ...


def item(index: int = 3, seed: int = 0, config: QuestionsConfig = CONFIG) -> PromptItem:
    return prompt_item(index, 0, seed=seed, topics=TOPICS, config=config)


async def ask(
    engine: Engine, config: QuestionsConfig = CONFIG, asked: PromptItem | None = None, seed: int = 0, prompt=PROMPT
) -> Outcome[Question]:
    return await questions(
        asked or item(), engine=engine, prompt=prompt, config=config, topics=TOPICS, examples=EXAMPLES, seed=seed
    )


# -- prompt items ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), passes=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_topics_are_balanced(seed: int, passes: int):
    """No topic is used again before every topic was used as often."""
    counts: Counter[str] = Counter()
    for index in range(passes * len(TOPICS)):
        counts[item(index, seed).topic] += 1
        assert max(counts.values()) <= index // len(TOPICS) + 1
    assert set(counts.values()) == {passes}


def test_each_pass_has_its_own_order():
    """The topics come in another order in each pass and under each seed."""
    orders = {tuple(item(p * 7 + n, seed).topic for n in range(7)) for p in range(4) for seed in range(4)}
    assert len(orders) > 10


def test_difficulties_are_balanced():
    """Each topic takes each difficulty equally often, and each pass is even to within one."""
    pairs = Counter((item(n).topic, item(n).difficulty) for n in range(4 * len(TOPICS)))
    assert set(pairs.values()) == {2}
    first = Counter(item(n).difficulty for n in range(len(TOPICS)))
    assert max(first.values()) - min(first.values()) <= 1


@given(order=st.permutations(range(20)))
@settings(max_examples=20, deadline=None)
def test_items_do_not_depend_on_the_order_in_which_they_are_made(order: list[int]):
    """Item n is the same whether it is made first, last or again: a resumed run asks the same prompts."""
    assert {n: item(n) for n in order} == {n: item(n) for n in range(20)}


def test_items_leave_other_randomness_alone():
    """Making an item neither reads nor moves a random state that others use."""
    import random

    random.seed(5)
    before = random.getstate()
    first = item(1)
    random.seed(6)
    assert item(1) == first
    random.seed(5)
    item(2)
    assert random.getstate() == before


def test_seed_changes_the_scenarios():
    """Another seed draws other scenarios."""
    assert [item(n, seed=0).scenario for n in range(9)] != [item(n, seed=1).scenario for n in range(9)]


def test_scenarios_are_varied():
    """Hardly any two of 2,000 prompts have the same scenario, even with seven topics."""
    assert len({item(n).scenario for n in range(2000)}) > 1700


def test_scenario_takes_up_a_keyword_of_the_topic():
    """Each scenario starts from a keyword of its own topic."""
    keywords = {topic.name: topic.keywords for topic in TOPICS}
    assert all(item(n).scenario.startswith(keywords[item(n).topic]) for n in range(50))


def test_item_ids_sort_by_index():
    """Ids are unique and sort in the order of the prompts, across rounds."""
    ids = [prompt_item(n, n // 10, seed=0, topics=TOPICS, config=CONFIG).id for n in range(0, 3000, 7)]
    assert ids == sorted(set(ids))


def test_one_difficulty_is_enough():
    """A recipe may ask for a single difficulty."""
    assert {item(n, config=replace(CONFIG, difficulties=("hard",))).difficulty for n in range(9)} == {"hard"}


def test_no_difficulty_is_a_usage_error():
    """An empty list of difficulties is refused with what to give."""
    with pytest.raises(UsageError, match="difficulties is empty"):
        item(config=replace(CONFIG, difficulties=()))


# -- one item ----------------------------------------------------------------------------------------------------------


async def test_entries_are_kept_or_dropped():
    """Every entry of the list is a question or a drop; nothing is lost."""
    outcome = await ask(Engine())
    assert [kept.question for kept in outcome.kept] == [
        "Write a function that adds two numbers.",
        "Given a list, return its largest item.",
    ]
    assert [drop.reason for drop in outcome.drops] == ["too-short", "truncated"]
    assert outcome.final


async def test_question_says_where_it_comes_from():
    """A question carries its prompt's topic, difficulty, scenario and index, its place in the list, and the model."""
    asked = replace(item(), round=2)
    question = (await ask(Engine(), asked=asked)).kept[1]
    assert question == Question(
        id=content_id("Given a list, return its largest item."),
        question="Given a list, return its largest item.",
        topic=asked.topic,
        difficulty=asked.difficulty,
        scenario=asked.scenario,
        round=2,
        prompt_index=asked.index,
        position=2,
        model="test-model",
    )


async def test_the_call_is_recorded():
    """The outcome holds the request's digest, the samples as they came, and the tokens."""
    engine = Engine()
    outcome = await ask(engine)
    (call,) = outcome.attempts.calls
    assert (call.step, call.request) == ("questions", engine.requests[0].digest())
    assert call.completion.samples == (engine.sample,)
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (700, 40)


async def test_an_empty_completion_is_a_drop():
    """A model that writes nothing is a value with a reason, not an error."""
    outcome = await ask(Engine("", "stop"))
    assert ([drop.reason for drop in outcome.drops], outcome.kept) == (["empty"], ())


async def test_a_failed_request_is_the_drivers():
    """The stage does not swallow the failure of an engine: it is owed again."""

    class Failing(Engine):
        async def complete(self, request: Request) -> Completion:
            raise RequestFailed("500")

    with pytest.raises(RequestFailed):
        await ask(Failing())


async def test_prompt_says_what_is_wanted():
    """The prompt names topic, field, difficulty, scenario, count, shows ten numbered examples, goes on from 11."""
    engine = Engine()
    await ask(engine)
    text = engine.requests[0].messages[-1].content
    asked = item()
    field = next(topic.field for topic in TOPICS if topic.name == asked.topic)
    assert all(part in text for part in (asked.topic, field, asked.difficulty, asked.scenario, " 50 ", "from 11"))
    assert sum(example in text for example in EXAMPLES) == 10
    assert "\n1. " in text
    assert "\n10. " in text
    assert "\n11. " not in text


async def test_examples_are_drawn_per_prompt():
    """Each prompt shows other examples, the same ones whenever it is made again."""
    engine = Engine()
    for index in (1, 2, 1):
        await ask(engine, asked=item(index))
    first, second, again = (
        {example for example in EXAMPLES if example in request.messages[-1].content} for request in engine.requests
    )
    assert first != second
    assert first == again


async def test_without_examples_the_list_starts_at_1():
    """With no examples the prompt shows none and asks for numbers from 1."""
    engine = Engine()
    await ask(engine, replace(CONFIG, examples=0))
    text = engine.requests[0].messages[-1].content
    assert "from 1," in text
    assert "examples" not in text


async def test_echoed_examples_are_no_questions():
    """A completion that repeats an example of its prompt does not make a question of it."""
    first = Engine()
    await ask(first)
    shown = next(example for example in EXAMPLES if example in first.requests[0].messages[-1].content)
    outcome = await ask(Engine(f"1. {shown}\n2. Write a function that adds two numbers.", "stop"))
    assert [drop.reason for drop in outcome.drops] == ["repetition"]
    assert len(outcome.kept) == 1


async def test_sampling_is_the_prompts_unless_configured():
    """Sampling comes from the prompt's front matter; a setting that is given wins; one sample is asked for."""
    engine = Engine()
    await ask(engine)
    await ask(engine, replace(CONFIG, temperature=0.1, max_tokens=99))
    default, given_ = (request.sampling for request in engine.requests)
    assert (default.n, default.temperature, default.top_p, default.max_tokens) == (1, 0.8, 0.95, 4096)
    assert (given_.temperature, given_.top_p, given_.max_tokens) == (0.1, 0.95, 99)


async def test_a_temperature_of_zero_counts_as_given():
    """temperature 0 (greedy) is a value, not the absence of one."""
    engine = Engine()
    await ask(engine, replace(CONFIG, temperature=0.0))
    assert engine.requests[0].sampling.temperature == 0.0


async def test_each_prompt_has_a_seed_of_its_own():
    """Seeds differ between prompts and between runs, and repeat for the same prompt of the same run."""
    engine = Engine()
    for index, seed in ((1, 0), (2, 0), (1, 1), (1, 0)):
        await ask(engine, asked=item(index), seed=seed)
    seeds = [request.sampling.seed for request in engine.requests]
    assert len(set(seeds)) == 3
    assert seeds[0] == seeds[3]


async def test_a_prompt_of_ones_own(tmp_path: Path):
    """A prompt that uses only some of the variables works; examples that it does not show may then be asked."""
    (tmp_path / "questions.md").write_text('+++\nvariables = ["topic"]\n+++\n## user\nAsk about {{ topic }}.')
    prompt = load_prompt("questions", [tmp_path], VARIABLES)
    engine = Engine(f"1. {EXAMPLES[0]}", "stop")
    outcome = await ask(engine, prompt=prompt)
    assert engine.requests[0].messages[0].content == f"Ask about {item().topic}."
    assert [kept.question for kept in outcome.kept] == [EXAMPLES[0]]


# -- rounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("have", "want", "generated", "done", "expected"),
    [
        (0, 1000, 0, 0, 25),  # 50 x 0.8 = 40 from each prompt
        (0, 1, 0, 0, 1),
        (0, 41, 0, 0, 2),
        (1000, 1000, 1200, 25, 0),
        (1200, 1000, 1200, 25, 0),
        (600, 1000, 900, 25, 18),  # 24 from each prompt; 400 / 24 with 5 % more
        (999, 1000, 1100, 25, 1),
        (100, 1000, 3990, 90, 1),  # the budget of 4 x 1000 holds 10 more
        (100, 1000, 4000, 90, 0),
        (100, 1000, 5000, 90, 0),
        (0, 1000, 50, 5, 5),  # nothing useful yet: as many again
        (0, 1000, 0, 5, 0),  # nothing at all: more prompts would not help
    ],
)
def test_next_round(have: int, want: int, generated: int, done: int, expected: int):
    """A round is as large as the measured yield says, within the budget, and 0 when there is nothing more to do."""
    assert next_round(have, want, generated, done, CONFIG) == expected


def test_no_question_per_prompt_is_a_usage_error():
    """per_prompt = 0 is refused with what to give."""
    with pytest.raises(UsageError, match="per_prompt is 0"):
        next_round(0, 10, 0, 0, replace(CONFIG, per_prompt=0))


def test_budget_of_the_config_caps_the_rounds():
    """max_generated is the most raw questions, whatever the target."""
    assert next_round(0, 1000, 0, 0, replace(CONFIG, max_generated=120)) == 3
    assert next_round(90, 1000, 120, 3, replace(CONFIG, max_generated=120)) == 0


@given(want=st.integers(1, 5000), useful=st.floats(0, 1), listed=st.integers(0, 60), seed=st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_rounds_end(want: int, useful: float, listed: int, seed: int):
    """Whatever the yield, the rounds reach the target or spend the budget, in a limited number of rounds."""
    rng = Random(seed)
    have = generated = done = 0
    for _ in range(200):
        prompts = next_round(have, want, generated, done, CONFIG)
        if not prompts:
            break
        done += prompts
        raw = prompts * listed
        generated += raw
        have += sum(rng.random() < useful for _ in range(raw))
    assert have >= want or generated >= 4 * want or generated == 0


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[topic]\n", "not valid TOML"),
        ("", "no [[topic]] table"),
        ("topic = 3", "no [[topic]] table"),
        ('[topic]\nname = "x"', "no [[topic]] table"),
        ('[[topic]]\nname = "x"\nfield = "f"', "topic 1 ('x') lacks keywords"),
        ('[[topic]]\nkeywords = [1]\nfield = ""', "topic 1 (None) lacks name, field, keywords"),
        ('[[topic]]\nname = "x"\nfield = "f"\nkeywords = []', "lacks keywords"),
        ('[[topic]]\nname = "x"\nfield = "f"\nkeywords = ["k"]\n' * 2, "two topics have the same name"),
    ],
)
def test_bad_topics_file(tmp_path: Path, text: str, said: str):
    """A topics file that cannot be used is refused in one line that names the file and what is wrong."""
    path = tmp_path / "topics.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_topics(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_topics_file(tmp_path: Path):
    """A topics file that is not there is an InputError with its path."""
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        load_topics(tmp_path / "nowhere.toml")


def test_byte_order_mark_is_no_part_of_a_topics_file(tmp_path: Path):
    """A topics file saved with a byte order mark, as some Windows editors do, reads the same."""
    path = tmp_path / "topics.toml"
    path.write_text('\ufeff[[topic]]\nname = "x"\nfield = "f"\nkeywords = ["k"]\n', encoding="utf-8")
    assert [topic.name for topic in load_topics(path)] == ["x"]


def test_bad_examples_file(tmp_path: Path):
    """An example without text is refused, by its number."""
    path = tmp_path / "seeds.toml"
    path.write_text('[[question]]\nquestion = "Write f."\n[[question]]\nquestion = " "\n')
    with pytest.raises(InputError, match="question 2 has no text"):
        load_examples(path)


def test_shipped_files_load():
    """The shipped topics and examples are readable, with enough examples for a prompt and more to draw from."""
    assert len(load_topics(resource("data/topics.toml"))) > 100
    assert len(load_examples(resource("data/seed-questions.toml"))) >= 40
