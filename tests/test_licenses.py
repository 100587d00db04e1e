"""Licences: identifiers that are checked, and the clauses that the names of models point to."""

from __future__ import annotations

import pytest

from datagen.errors import UsageError
from datagen.licenses import LICENSES, check_license, terms_of, training_conflict


@pytest.mark.parametrize("name", ["", "other", *LICENSES])
def test_known_identifiers_pass(name):
    """Every identifier of the list, `other`, and no licence at all are accepted."""
    check_license(name)


@pytest.mark.parametrize(("wrong", "near"), [("apache2", "apache-2.0"), ("MIT", "mit"), ("CC-BY-4", "cc-by-4.0")])
def test_misspelt_identifier_names_the_nearest(wrong, near):
    """A misspelt identifier is a UsageError that offers the right one."""
    with pytest.raises(UsageError, match=near):
        check_license(wrong)


def test_unheard_of_identifier_gets_an_example():
    """A name like none of them is a UsageError with an example."""
    with pytest.raises(UsageError, match=r"apache-2\.0"):
        check_license("qqqq")


LLAMA_2 = "section 1.b.v of the Llama 2 Community License forbids"
LLAMA_3 = "section 1.b.v of the Meta Llama 3 Community License forbids"
NAMED = "section 1.b.i of its Community License lets outputs train"
LOOK_UP = "look up what its terms say"


@pytest.mark.parametrize(
    ("model", "clause"),
    [
        ("codellama/CodeLlama-7b-Instruct-hf", LLAMA_2),
        ("Phind/Phind-CodeLlama-34B-v2", LLAMA_2),
        ("code-llama:7b", LLAMA_2),
        ("meta-llama/Llama-2-7b-chat-hf", LLAMA_2),
        ("llama2:13b", LLAMA_2),
        ("meta-llama/Meta-Llama-3-8B-Instruct", LLAMA_3),
        ("llama3:8b", LLAMA_3),
        ("meta-llama/Llama-3.1-8B-Instruct", NAMED),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", NAMED),
        ("llama3.2:1b", NAMED),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", NAMED),
        ("openlm-research/open_llama_3b_v2", LOOK_UP),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", LOOK_UP),
        ("huggyllama/llama-30b", LOOK_UP),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", LOOK_UP),
        ("demo-model", "comes with datagen"),
    ],
)
def test_terms_follow_the_model(model, clause):
    """The clause is the one of the model's own licence; a size in a name is not taken for a version."""
    assert clause in terms_of(model)


def test_llama_terms_say_that_the_licence_must_be_read():
    """What is said about a licence never stands in for reading it."""
    assert all("Read the licence" in terms_of(name) for name in ("llama-2", "llama-3", "llama-3.1", "codellama"))


@pytest.mark.parametrize(
    ("generator", "target", "clause"),
    [
        ("codellama/CodeLlama-7b-Instruct-hf", "bigcode/starcoder2-15b", LLAMA_2),
        ("codellama/CodeLlama-7b-Instruct-hf", "meta-llama/Meta-Llama-3-8B", LLAMA_2),
        ("meta-llama/Llama-2-70b-chat-hf", "demo-model", LLAMA_2),
        ("meta-llama/Meta-Llama-3-70B-Instruct", "codellama/CodeLlama-7b-hf", LLAMA_3),
        ("meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen2.5-Coder-7B", NAMED),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-8B", NAMED),
    ],
)
def test_training_another_family_is_warned_of(generator, target, clause):
    """Data of a model whose licence keeps its outputs in its family, or sets a name, is said with the clause."""
    said = training_conflict(generator, target)
    assert clause in said and said.startswith(generator)


@pytest.mark.parametrize(
    ("generator", "target"),
    [
        ("codellama/CodeLlama-7b-Instruct-hf", "codellama/CodeLlama-34b-hf"),
        ("codellama/CodeLlama-7b-Instruct-hf", "meta-llama/Llama-2-7b-hf"),
        ("meta-llama/Llama-2-70b-chat-hf", "Phind/Phind-CodeLlama-34B-v2"),
        ("meta-llama/Meta-Llama-3-70B-Instruct", "meta-llama/Meta-Llama-3-8B"),
        ("demo-model", "codellama/CodeLlama-7b-hf"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "codellama/CodeLlama-7b-hf"),
    ],
)
def test_training_the_same_family_is_not(generator, target):
    """A family may be trained on its own outputs, and where no clause is known nothing is made up."""
    assert training_conflict(generator, target) == ""
