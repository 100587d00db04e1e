"""Claims about whole evaluations, by a model that is a function and the real sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from eval_kit import SOLUTIONS, answer, files, score

from datagen.errors import EngineUnavailable, InputError, SettingsChanged, UsageError
from datagen.evaluation.problems import load_problems
from datagen.models import Completion, Sample


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("evals") / "model"
    return folder, score(folder)


def test_a_score_says_how_it_was_made(whole):
    """The report names protocol, hash, decoding, model, sandbox level, and gives error and interval for each k."""
    entry = whole[1]["benchmarks"]["interview"]
    assert entry["protocol"] == "plain/any/chat" and len(entry["protocol_hash"]) == 16
    assert (entry["n"], entry["temperature"], entry["model"]) == (4, 0.8, "some/model")
    assert entry["sandbox"] in ("L0", "L1") and entry["samples"] == 32
    assert set(entry["pass@k"]) == {"1"} and set(entry["pass@k"]["1"]) == {"value", "stderr", "low", "high"}
    assert 0 < entry["pass@k"]["1"]["value"] < 1


def test_verdicts_are_the_models(whole):
    """A sample passes exactly if the model gave the suite's solution."""
    lines = (whole[0] / "interview/results.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) == 32
    assert all(one["passed"] == (one["solution"] in SOLUTIONS.values()) for one in results)


@pytest.mark.parametrize("calls", [0, 3, 6])
def test_an_evaluation_that_stopped_goes_on(whole, tmp_path, calls):
    """An engine that dies after some calls, then the same command: the same files, and only what was owed is asked."""
    asked: list[str] = []

    def dies(request):
        if len(asked) == calls:
            raise EngineUnavailable("the engine died")
        asked.append(request.digest())
        return answer(request)

    def counted(request):
        asked.append(request.digest())
        return answer(request)

    with pytest.raises(EngineUnavailable):
        score(tmp_path / "model", dies, concurrency=1)
    score(tmp_path / "model", counted)
    assert files(tmp_path / "model") == files(whole[0])
    assert len(asked) == len(set(asked)) == 8


def test_order_and_concurrency_do_not_matter(whole, tmp_path):
    """One problem at a time gives the same bytes as many."""
    score(tmp_path / "model", concurrency=1)
    assert files(tmp_path / "model") == files(whole[0])


@pytest.mark.slow
def test_killed_evaluation_ends_with_the_same_bytes(whole, tmp_path):
    """kill -9 in the middle, then the same command: samples, verdicts and report equal those of an undisturbed run."""
    command = [
        sys.executable, "-m", "datagen", "eval", "--engine", "replay", "--replay", str(whole[0]), "--model",
        "some/model", "--benchmarks", "interview", "--style", "chat", "--n", "4", "--temperature", "0.8",
        "--concurrency", "1", "--run", str(tmp_path / "model"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    ledger = tmp_path / "model/interview/ledger/active.jsonl"
    while process.poll() is None and not (ledger.exists() and ledger.read_bytes().count(b"\n") > 1):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "model/report.json").exists()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert files(tmp_path / "model") == files(whole[0])


def test_samples_out_are_samples_in(whole, tmp_path):
    """samples.jsonl of an evaluation, scored as given samples, has the same passes, problem by problem."""
    again = score(tmp_path / "again", samples=str(whole[0] / "interview/samples.jsonl"), n=None)
    here, there = again["benchmarks"]["interview"], whole[1]["benchmarks"]["interview"]
    assert here["pass@k"]["1"] == there["pass@k"]["1"] and here["protocol"] == "samples"


def test_changed_decoding_is_refused_by_name(whole):
    """Another number of samples in the same folder is refused and named; nothing is overwritten."""
    before = files(whole[0])
    with pytest.raises(SettingsChanged, match="n 4 -> 5"):
        score(whole[0], n=5)
    assert files(whole[0]) == before


def test_scoring_again_without_items_asks_nothing(whole, tmp_path):
    """--exclude-items scores a finished evaluation anew: both figures stand in the report, and no model is asked."""
    hits = pl.DataFrame(
        {"benchmark": ["interview"] * 2, "item": ["interview/flower-bed", "interview/max-vowels"],
         "method": ["window", "openai"]}
    )  # fmt: skip
    hits.write_parquet(tmp_path / "hits.parquet")

    def silent(request):
        raise AssertionError("a model was asked")

    score(tmp_path / "model")
    entry = score(tmp_path / "model", silent, exclude_items=str(tmp_path))["benchmarks"]["interview"]
    assert entry["excluded"] == ["interview/flower-bed"]
    assert entry["without_excluded"]["problems"] == 7
    assert entry["pass@k"] == whole[1]["benchmarks"]["interview"]["pass@k"]


def test_a_file_without_hits_is_refused(tmp_path):
    """What is no report of a decontamination is an error that says what to give."""
    with pytest.raises(InputError, match="holds no hits"):
        score(tmp_path / "model", exclude_items=str(tmp_path))


def test_a_file_of_prompts_and_tests_is_a_benchmark(tmp_path):
    """JSON lines with prompt and tests are enough; a base model goes on with its few-shot prompt."""
    own = tmp_path / "mine.jsonl"
    own.write_text(json.dumps({"prompt": "Add one to n.", "tests": ["assert inc(1) == 2", "assert inc(-1) == 0"]}))

    def base(request):
        assert request.prompt.endswith("Task: Add one to n.\nWrite the function inc.\n[BEGIN]\n")
        return Completion((Sample("def inc(n):\n    return n + 1\n[DONE]\nTask: more"),))

    found = score(tmp_path / "model", base, benchmarks=(str(own),), style="base", n=1)
    assert found["benchmarks"]["mine"]["pass@k"]["1"]["value"] == 1.0


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"benchmarks": ()}, UsageError, "--benchmarks"),
        ({"protocol": "evalplus"}, UsageError, "Protocols for it: plain"),
        ({"k": ("10",)}, UsageError, "Give --n 10"),
        ({"k": ("many",)}, UsageError, "Give --k 1 10 100"),
        ({"benchmarks": ("nowhere.jsonl",)}, InputError, "Check the path"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(tmp_path, settings, kind, says):
    """Each wrong setting ends in one line that says what to type, and leaves no folder behind that counts."""
    with pytest.raises(kind, match=says):
        score(tmp_path / "model", **settings)
    assert not (tmp_path / "model/report.json").exists()


def test_samples_of_other_tasks_are_refused(tmp_path):
    """A task that the benchmark does not have, and a problem without samples, are named."""
    given = tmp_path / "samples.jsonl"
    given.write_text(json.dumps({"task_id": "nobody/1", "solution": ""}))
    with pytest.raises(InputError, match="nobody/1"):
        score(tmp_path / "a", samples=str(given))
    given.write_text(json.dumps({"task_id": "interview/flower-bed", "solution": ""}))
    with pytest.raises(InputError, match="no sample of 7 of 8 problems"):
        score(tmp_path / "b", samples=str(given))


def test_more_samples_than_a_file_holds_are_a_mistake(whole, tmp_path):
    """pass@5 of four samples a problem is refused, with the k that there is; that one is scored."""
    given = {"samples": str(whole[0] / "interview/samples.jsonl"), "n": None}
    with pytest.raises(UsageError, match=r"pass@5 needs 5 samples .* Give --k 4, or"):
        score(tmp_path / "a", k=("1", "5"), **given)
    assert set(score(tmp_path / "a", k=("1", "4"), **given)["benchmarks"]["interview"]["pass@k"]) == {"1", "4"}


def test_a_folder_holds_one_models_scores(whole):
    """Another model's score on another benchmark is refused, so that no report says of one what another did."""
    before = files(whole[0])
    with pytest.raises(SettingsChanged, match=r"of some/model, not of other/model\. .* --run OTHER"):
        score(whole[0], model="other/model", benchmarks=("demo-heldout",))
    assert files(whole[0]) == before


def test_suite_is_ours_to_judge():
    """The interview suite has eight problems, each with ten tests or more."""
    problems = load_problems("interview").problems
    assert len(problems) == 8 and all(len(problem.item.tests) >= 10 for problem in problems)
