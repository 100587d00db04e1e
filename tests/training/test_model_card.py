"""The model card: what it says follows from its facts, its front matter is YAML, no folder of the machine is in it."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import yaml

from datagen.card import is_generated, license_of
from datagen.config import FinetuneConfig
from datagen.errors import InputError, UsageError
from datagen.training.card import ScoreFacts, TuneFacts, model_card, with_scores

FACTS = TuneFacts(
    title="CodeLlama-7b-tuned", base="codellama/CodeLlama-7b-hf", source="code-llama", rows=14_000,
    tokens_per_epoch=7_000_000, steps=27, tokens=14_000_000, parameters=6_738_546_688,
    command="datagen finetune runs/code-llama --model codellama/CodeLlama-7b-hf --preset phind", version="0.1.0",
    seed=3, revision="deadbeef", license="llama2", hub_base="codellama/CodeLlama-7b-hf", datasets=("ada/questions",),
    dropped={"over-length": 12, "empty": 0}, rehearsal=(("/home/ada/code.jsonl", 900, 450_000),), losses=(1.25, 0.5),
    seconds=4700.0, device="NVIDIA H100", processes=8, distributed="fsdp2",
    config=asdict(FinetuneConfig(length=4096, rehearsal=("/home/ada/code.jsonl=0.06",))), versions={"trl": "1.16.0"},
    generators=("codellama/CodeLlama-7b-Instruct-hf",), benchmarks=("humaneval", "mbpp"),
    scores=(ScoreFacts("/home/ada/tuned", "humaneval", 164, "code-llama", 1, 0.0, 1, 0.348, 0.28, 0.42),),
)  # fmt: skip
BARE = replace(
    FACTS, license="", hub_base="", datasets=(), dropped={}, rehearsal=(), losses=(), config={}, versions={},
    generators=(), benchmarks=(), scores=(), revision="",
)  # fmt: skip


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter_is_what_the_hub_reads():
    """The front matter is YAML with base model, licence, data, tags, task and library, under the Hub's names."""
    assert front_matter(model_card(FACTS)) == {
        "license": "llama2", "base_model": "codellama/CodeLlama-7b-hf", "base_model_relation": "finetune",
        "library_name": "transformers", "pipeline_tag": "text-generation", "language": ["en"],
        "datasets": ["ada/questions"], "tags": ["code", "full-fine-tune", "datagen"],
    }  # fmt: skip


def test_front_matter_leaves_out_what_is_not_on_the_hub():
    """Without a licence, a base or data on the Hub the front matter names none."""
    assert not {"license", "base_model", "datasets"} & front_matter(model_card(BARE)).keys()


@pytest.mark.parametrize(
    "said",
    [
        "14,000", "over-length 12", "`code.jsonl`: 900 rows, 450,000 tokens", "27 steps, 14,000,000 tokens",
        "1.2500 to 0.5000", "78 min", "8 x NVIDIA H100, fsdp2", "trl 1.16.0", "| `length` | 4096 |",
        "compared with `humaneval`, `mbpp`",
        "| humaneval | 164 | code-llama | `tuned` | 1 | 0 | pass@1 | 34.8% | 28.0% to 42.0% |",
        "section 1.b.v of the Llama 2 Community License", "--preset phind", "deadbeef",
    ],
)  # fmt: skip
def test_card_says_its_facts(said):
    """Rows, drops, rehearsal, steps, loss, time, hardware, versions, settings, scores, terms, command are there."""
    assert said in model_card(FACTS)


def test_card_makes_nothing_up():
    """What is not known is said to be so: no loss, no scores, no decontamination, no generator."""
    text = model_card(BARE)
    assert text.count("not recorded") == 3
    assert "Not recorded: take scores" in text and "None recorded." in text and "No licence was chosen" in text


def test_card_warns_where_a_licence_forbids_the_training():
    """Data of Code Llama and another family's base: the clause stands out; the same family: it does not."""
    assert "Read before you publish" in model_card(replace(FACTS, base="Qwen/Qwen2.5-Coder-7B"))
    assert "Read before you publish" not in model_card(FACTS)


def test_card_names_no_folder_of_the_machine():
    """Folders of the machine that trained are in no part of the card."""
    assert "/home/ada" not in model_card(replace(FACTS, base="/home/ada/base"))


def test_card_is_one_that_push_knows():
    """The card counts as generated, and its licence is found in it."""
    assert is_generated(model_card(FACTS)) and license_of(model_card(FACTS)) == "llama2"


def test_unknown_licence_is_refused():
    """A licence that the Hub does not know is a UsageError."""
    with pytest.raises(UsageError, match=r"apache-2\.0"):
        model_card(replace(FACTS, license="apache2"))


def test_scores_that_come_later_change_nothing_else():
    """A card with scores put in is the card that was made with them, whatever scores stood there."""
    assert with_scores(model_card(replace(FACTS, scores=())), FACTS.scores) == model_card(FACTS)
    assert with_scores(model_card(FACTS), ()) == model_card(replace(FACTS, scores=()))


def test_scores_keep_what_was_written_by_hand():
    """What was written by hand stays, and the card counts as edited; one without the section is refused."""
    by_hand = model_card(BARE).replace("---\n", "---\nlicense: mit\n", 1) + "\nAsk me.\n"
    text = with_scores(by_hand, FACTS.scores)
    assert license_of(text) == "mit" and "Ask me." in text and "34.8%" in text and not is_generated(text)
    assert "34.8%" in with_scores(by_hand.replace("\n", "\r\n"), FACTS.scores)
    with pytest.raises(InputError, match="## Evaluation"):
        with_scores("# A model\n", FACTS.scores)
