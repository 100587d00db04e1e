"""The data set card: what it says, that its front matter is YAML, and that an edit is noticed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datagen.card import (
    BenchmarkFacts,
    CardFacts,
    StageFacts,
    StepFacts,
    card,
    is_blank,
    is_generated,
    license_of,
    public_name,
    size_category,
    stamp,
)
from datagen.errors import UsageError
from datagen.models import Message, Row

SAMPLE = Row(
    messages=(Message("user", "Write f."), Message("assistant", "```python\ndef f(): ...\n```")),
    id="00000000000000ff", question="Write `f(x | y)`.", solution="def f(x):\n    return x\n",
    tests=("assert f(1) == 1", "assert f('```') == '```'"), shown_test="assert f(1) == 1", entry_point="f",
    n_candidates=10, n_tried=10, n_passed=7, pass_rate=0.7, chosen_index=2, difficulty="easy", topic="bits",
    model="a/b", prompt="abcdef0123456789", seed=12345,
)  # fmt: skip


def step(
    name: str, n: int = 1, model: str = "codellama/CodeLlama-7b-Instruct-hf", revision: str = "deadbeef"
) -> StepFacts:
    return StepFacts(name, model, revision, f"{name}.md", "abcdef0123456789", n, 0.8, 0.95, 1024)


FACTS = CardFacts(
    title="Small questions", license="apache-2.0", rows=1234, candidates=20_000, rejected=4321,
    funnel=(StageFacts("1-questions", 5000, 4000, {"truncated": 200, "empty": 800, "too-short": 0}),),
    steps=(step("questions"), step("tests"), step("solutions", n=10)),
    benchmarks=(BenchmarkFacts("humaneval", "openai-min20", 164, 3),),
    sandbox_level="full", sandbox_limits={"cpu_seconds": 2.0, "memory_mb": 512}, seed=7, sample=SAMPLE,
    recipe='[run]\nseed = 7\n\n[questions]\ntopics = "topics.toml"\n', command="datagen run recipe.toml",
    version="0.1.0",
)  # fmt: skip


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_early_stop_is_told():
    """The card of a set that was made with early stop says "up to ten candidates", and null where nothing is known."""
    text = card(replace(FACTS, sample=replace(SAMPLE, n_tried=3, n_passed=None, pass_rate=None, difficulty=None)))
    assert "then up to 10 candidate solutions" in text and "| `pass_rate` | null |" in text
    assert "then 10 candidate solutions" in card(FACTS)


def test_front_matter_is_what_the_hub_reads():
    """The front matter holds licence, language, task, size, tags and a config for each kind of row."""
    assert front_matter(card(FACTS)) == {
        "license": "apache-2.0", "language": ["en"], "task_categories": ["text-generation"],
        "pretty_name": "Small questions", "size_categories": ["1K<n<10K"],
        "tags": ["synthetic", "code", "self-instruct", "datagen"],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": f"{folder}/train-*.parquet"}]}
            for name, folder in (("default", "data"), ("all_candidates", "all_candidates"), ("rejected", "rejected"))
        ],
    }  # fmt: skip


def test_no_licence_no_key():
    """Without a chosen licence the front matter has none and the body says that none was chosen."""
    text = card(replace(FACTS, license=""))
    assert "license" not in front_matter(text)
    assert "No licence was chosen" in text


def test_configs_without_rows_are_not_named():
    """A config that has no rows is not in the front matter: it is not written either."""
    configs = front_matter(card(replace(FACTS, candidates=0, rejected=0)))["configs"]
    assert [config["config_name"] for config in configs] == ["default"]


@given(title=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_any_title_survives_the_front_matter(title):
    """Whatever characters a title holds, YAML gives it back, on one line."""
    wanted = " ".join(title.split()) or "Questions, tests and solutions"
    assert front_matter(card(replace(FACTS, title=title)))["pretty_name"] == wanted


@pytest.mark.parametrize(
    ("rows", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (10**6, "1M<n<10M"), (10**13, "n>1T")],
)
def test_size_category(rows, category):
    """The size is named as the Hub names it."""
    assert size_category(rows) == category


def test_funnel_counts_by_reason():
    """Each stage is a line: in, kept, dropped, and the reasons by size; reasons that dropped nothing are left out."""
    assert "| 1-questions | 5,000 | 4,000 | 1,000 | empty 800, truncated 200 |" in card(FACTS)


def test_steps_are_whole():
    """Each step is a line: model, revision, prompt with digest, and sampling."""
    expected = (
        "| solutions | `codellama/CodeLlama-7b-Instruct-hf` | `deadbeef` | solutions.md (`abcdef0123456789`) "
        "| 10 | 0.8 | 0.95 | 1024 |"
    )
    assert expected in card(FACTS)


def test_decontamination_is_reported():
    """Each benchmark is a line: method, items, rows that overlap it."""
    assert "| humaneval | openai-min20 | 164 | 3 |" in card(FACTS)


def test_missing_decontamination_is_admitted():
    """A set that was compared with no benchmark says so, and does not claim otherwise."""
    text = card(replace(FACTS, benchmarks=()))
    assert "compared with no benchmark" in text and "overlap a benchmark are" not in text


def test_sample_is_shown_whole():
    """Every column of one row is there: texts as blocks that backticks inside do not break, values in a table."""
    text = card(FACTS)
    assert "````python\nassert f(1) == 1\nassert f('```') == '```'\n````" in text
    assert "```text\nWrite `f(x | y)`.\n```" in text
    assert "| `pass_rate` | 0.7 |" in text and "| `seed` | 12345 |" in text


def test_recipe_can_be_taken_from_the_card():
    """The TOML block of the card parses to the run's recipe, and the command stands below it."""
    block = re.search(r"```toml\n(.*?)\n```", card(FACTS), re.DOTALL)
    assert tomllib.loads(block.group(1)) == {"run": {"seed": 7}, "questions": {"topics": "topics.toml"}}
    assert "```sh\ndatagen run recipe.toml\n```" in card(FACTS)


def test_logins_in_addresses_are_left_out():
    """A server's address keeps its host and loses its user and password."""
    text = card(replace(FACTS, recipe='[engine]\nbase_url = "https://ada:s3cret@gpu.example:8000/v1"\n'))
    assert "s3cret" not in text and 'base_url = "https://gpu.example:8000/v1"' in text


def test_limits_of_the_method_are_said():
    """The card says that a model wrote the tests and what passing means."""
    assert "these tests pass, not that it is correct" in card(FACTS)


def test_terms_of_every_model_are_named_once():
    """The licence section has one line for each distinct model."""
    text = card(replace(FACTS, steps=(step("questions", model="a/b"), step("tests", model="a/b"), step("solutions"))))
    assert text.count("- `a/b`: look up") == 1 and text.count("- `codellama/CodeLlama-7b-Instruct-hf`: Code Llama") == 1


def test_folders_of_this_machine_stay_private():
    """A model that was loaded from a folder is named by its last part."""
    assert public_name("/home/ada/models/demo-model/") == "demo-model"
    assert public_name("codellama/CodeLlama-7b-Instruct-hf") == "codellama/CodeLlama-7b-Instruct-hf"
    assert "/home/ada" not in card(replace(FACTS, steps=(step("solutions", model="/home/ada/demo-model"),)))


def test_unknown_licence_is_refused():
    """A card is not made with a licence that the Hub does not know."""
    with pytest.raises(UsageError, match="Did you mean"):
        card(replace(FACTS, license="Apache 2"))


def test_card_is_deterministic_and_generated():
    """Equal facts give equal cards, and a card counts as generated as long as nobody touched it."""
    assert card(FACTS) == card(FACTS)
    assert is_generated(card(FACTS))


@given(
    text=st.text(max_size=200), at=st.integers(0, 10**6), character=st.characters(exclude_categories=["Cs", "Cc", "Zs"])
)
def test_any_edit_is_noticed(text, at, character):
    """One character put anywhere before the hidden comment, and the card no longer counts as generated."""
    stamped = stamp(f"# Card\n\n{text}.")
    place = at % (stamped.rindex("\n<!--"))
    assert is_generated(stamped)
    assert not is_generated(stamped[:place] + character + stamped[place:])


def test_line_ends_are_no_edit():
    """A checkout that turned line ends into CRLF did not edit the card."""
    assert is_generated(card(FACTS).replace("\n", "\r\n"))


def test_text_after_the_comment_is_an_edit():
    """A paragraph added at the very end is an edit too."""
    assert not is_generated(card(FACTS) + "\nMy own words.\n")


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlanguage:\n- en\nlicense:\n- cc-by-4.0\n---\nx", "cc-by-4.0"),
        ('---\r\nlicense: "odbl"\r\n---\r\n', "odbl"),
        ("---\nlicense:\n---\n", ""),
        ("license: mit\n", ""),
        ("---\nlanguage: en\n---\nlicense: mit\n", ""),
    ],
)
def test_license_of(text, licence):
    """The licence is read from the front matter, however it is written there, and from nowhere else."""
    assert license_of(text) == licence


def test_blank_card():
    """Front matter alone is a blank card; a word below it is not."""
    assert is_blank("---\nlicense: mit\n---\n\n") and is_blank("")
    assert not is_blank("---\nlicense: mit\n---\n# Mine\n") and not is_blank("# Mine")
