"""Claims about protocols: what each asks, and that its hash names it."""

from __future__ import annotations

import json
import re

import pytest

from datagen.config import EngineConfig, EvalConfig
from datagen.errors import UsageError
from datagen.evaluation.grade import read
from datagen.evaluation.problems import load_problems
from datagen.evaluation.protocols import FORMS, choose, family_for
from datagen.evaluation.published import beside, table
from datagen.evaluation.style import has_template, style_of
from datagen.prompts import prompt_folders
from datagen.resources import resource

FOLDERS = prompt_folders()
HUMANEVAL = load_problems("humaneval").problems


def protocol(family, kind, style, **settings):
    return choose(EvalConfig(protocol=family, **settings), "some", kind, style, FOLDERS)


@pytest.mark.parametrize(("family", "kind", "style"), FORMS)
def test_every_protocol_loads_and_has_a_hash_of_its_own(family, kind, style):
    """Its prompts are there and use known variables; no other protocol has its hash."""
    chosen = protocol(family, kind if kind != "*" else "own", style)
    others = [protocol(f, k if k != "*" else "own", s) for f, k, s in FORMS if (f, k, s) != (family, kind, style)]
    assert chosen.hash not in {other.hash for other in others}


def test_the_hash_covers_prompts_and_decoding_but_not_n(tmp_path):
    """Another temperature or prompt file is another hash; more samples are the same protocol."""
    own = tmp_path / "eval/humaneval.md"
    own.parent.mkdir()
    own.write_text(resource("prompts/eval/humaneval.md").read_text() + "\nThink.\n")
    plain = protocol("code-llama", "humaneval", "chat")
    other = choose(EvalConfig(), "humaneval", "humaneval", "chat", prompt_folders(str(tmp_path)))
    assert len({plain.hash, other.hash, protocol("code-llama", "humaneval", "chat", temperature=0.8).hash}) == 3
    assert protocol("code-llama", "humaneval", "chat", n=200).hash == plain.hash


def test_humaneval_base_is_the_raw_prompt():
    """A base model goes on from the benchmark's very bytes; evalplus's form strips them and adds a newline."""
    for problem in HUMANEVAL:
        assert protocol("code-llama", "humaneval", "base").text(problem) == problem.item.question
        stripped = protocol("evalplus", "humaneval", "base").text(problem)
        assert stripped == problem.item.question.strip() + "\n"


@pytest.mark.parametrize("family", ["code-llama", "evalplus"])
@pytest.mark.parametrize("wrap", ["{}", "```python\n{}\n```", "Sure!\n```\n{}```\nDone.", "[PYTHON]\n{}[/PYTHON]"])
def test_humaneval_chat_answers_are_read_whole(family, wrap):
    """The reference, in whatever a chat model puts around it, is read as a program that holds the reference's lines."""
    chosen = protocol(family, "humaneval", "chat")
    for problem in HUMANEVAL:
        text = wrap.format(problem.item.solution)
        if family == "evalplus" and "```" in wrap:
            continue  # there the fence is already open
        assert problem.item.solution.strip() in read(text, problem, chosen)


@pytest.mark.parametrize(
    "text", ["    return number % 1.0\n```", "```python\ndef truncate_number(n):\n    return n % 1\n```"]
)
def test_an_answer_that_was_begun_goes_on_or_starts_anew(benchmarks_dir, text):
    """A body goes on from the signature; where a server answers with the whole function, that is the program."""
    problem = load_problems(str(benchmarks_dir / "humanevalpack/humanevalpack-python.jsonl")).problems[2]
    found = read(text, problem, protocol("fix", "humanevalpack", "chat"))
    assert found.count("def truncate_number") == 1 and "return n" in found and "`" not in found


def test_a_body_alone_is_put_below_its_stub():
    """A chat answer that holds only the function's body goes on from the prompt; imports of the stub are never lost."""
    problem = HUMANEVAL[0]
    chosen = protocol("code-llama", "humaneval", "chat")
    assert read("    return False\n", problem, chosen) == problem.stub + "    return False\n"
    rewritten = read("```python\ndef has_close_elements(a: List[float], b):\n    return 1\n```", problem, chosen)
    assert rewritten.startswith("from typing import List\n")


@pytest.mark.parametrize("stop", FORMS["code-llama", "humaneval", "base"].stop)
def test_continuations_end_at_stops(stop):
    """What follows a stop is no part of the program."""
    problem, chosen = HUMANEVAL[0], protocol("code-llama", "humaneval", "base")
    assert read(f"    return True{stop} more", problem, chosen) == problem.stub + "    return True"


def test_mbpp_of_the_paper_scores_tasks_11_to_510(benchmarks_dir):
    """500 of 974; three examples, then the task with its asserts, then [BEGIN]."""
    chosen = protocol("code-llama", "mbpp", "base")
    scored = [p for p in load_problems(str(benchmarks_dir / "mbpp_original")).problems if chosen.counts(p)]
    assert len(scored) == 500 and scored[0].id == "Mbpp/11"
    text = chosen.text(scored[0])
    assert text.count("[BEGIN]") == 4 and text.endswith("[BEGIN]\n") and text.count("[DONE]") == 3
    assert "assert remove_Occ" in text.rpartition("[DONE]")[2]


def test_few_shot_examples_are_no_benchmark_items(benchmarks_dir):
    """No example's function is one that MBPP or HumanEval asks for, and no worked question is in GSM8K."""
    names = {p.item.entry_point for p in load_problems(str(benchmarks_dir / "mbpp_original")).problems}
    names |= {problem.item.entry_point for problem in HUMANEVAL}
    for path in resource("prompts/eval").glob("*few-shot.md"):
        assert not names & set(re.findall(r"def (\w+)", path.read_text()))
    asked = {p.item.question for p in load_problems(str(benchmarks_dir / "gsm8k")).problems}
    ours = re.findall(r"Question: (.+)", resource("prompts/eval/gsm8k.md").read_text())
    assert len(ours) == 9 and not asked & set(ours)


def test_gsm8k_shows_eight_worked_questions(benchmarks_dir):
    """A base model reads eight answers that end in ####, and goes on after "Answer:"."""
    problem = load_problems(str(benchmarks_dir / "gsm8k")).problems[0]
    text = protocol("code-llama", "gsm8k", "base").text(problem)
    assert text.count("\n#### ") == 8 and text.endswith(f"Question: {problem.item.question.strip()}\nAnswer:")


@pytest.mark.parametrize("family", ["fix", "explain", "synthesize"])
@pytest.mark.parametrize("style", ["base", "chat"])
def test_humanevalpack_shows_what_its_task_allows(benchmarks_dir, family, style):
    """fix shows the bug and never the docstring; explain's second step shows only the description and declaration."""
    problem = load_problems(str(benchmarks_dir / "humanevalpack/humanevalpack-python.jsonl")).problems[2]
    chosen = protocol(family, "humanevalpack", style)
    shown = chosen.text(problem, "A DESCRIPTION") if style == "base" else chosen.messages(problem, "A DESCRIPTION")
    text = shown if isinstance(shown, str) else "\n".join(message.content for message in shown)
    assert ("return number % 1.0 + 1.0" in text) == (family == "fix")
    assert ("decimal part" in text) == (family == "synthesize")
    assert ("A DESCRIPTION" in text) == (family == "explain")
    assert read("    return number % 1.0\n", problem, chosen).rstrip().endswith("return number % 1.0")


@pytest.mark.parametrize(
    ("benchmark", "kind", "family"),
    [("humaneval", "humaneval", "code-llama"), ("humaneval+", "humaneval", "evalplus"), ("mbpp", "mbpp", "code-llama"),
     ("mbpp+", "mbpp", "evalplus"), ("pack", "humanevalpack", "synthesize"), ("mine", "own", "plain"),
     ("demo-heldout", "humaneval", "plain")],
)  # fmt: skip
def test_each_benchmark_has_its_usual_protocol(benchmark, kind, family):
    """Without --protocol, the one by which the benchmark's figures are published."""
    assert family_for(benchmark, kind) == family


def test_a_protocol_for_another_benchmark_is_refused():
    """The error names the protocols that do fit."""
    with pytest.raises(UsageError, match="code-llama, evalplus, plain"):
        protocol("fix", "humaneval", "base")


def test_chat_is_chosen_by_the_tokenizers_template(tmp_path):
    """A template in either file means chat; none means base."""
    assert has_template(resource("data/demo-model")) and not has_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert has_template(tmp_path)


@pytest.mark.parametrize("engine", ["server", "batch"])
def test_what_a_provider_runs_is_a_chat_model(tmp_path, engine):
    """Its files are nobody's to look at: a folder or a Hub repository of the same name says nothing about it."""
    assert style_of(EngineConfig(engine=engine, model=str(tmp_path))) == "chat"


def test_published_figures_stand_beside_the_same_protocol_only():
    """Equal model, benchmark, protocol, problems and temperature, or nothing."""
    entry = {"model": "codellama/CodeLlama-7b-hf", "protocol": "code-llama/humaneval/base", "temperature": 0.0,
             "problems": 164, "pass@k": {"1": {}}}  # fmt: skip
    assert beside("humaneval", entry)["1"]["percent"] == 33.5
    for change in ({"model": "me/mine"}, {"protocol": "evalplus/humaneval/base"}, {"temperature": 0.8},
                   {"problems": 20}):  # fmt: skip
        assert not beside("humaneval", entry | change)
    assert not beside("humaneval+", entry)


def test_every_published_figure_names_a_protocol_that_exists():
    """And a share between 0 and 100, with its source."""
    known = {"/".join(key) for key in FORMS}
    assert all(one.protocol in known and 0 < one.value < 100 and one.source for one in table())
