"""Claims about comparing finished evaluations."""

from __future__ import annotations

import asyncio
import sys

import polars as pl
import pytest
from eval_kit import SOLUTIONS, answer, score
from fault_server import FaultServer

from datagen.cli import main
from datagen.errors import InputError
from datagen.evaluation.compare import Finished, comparison, paired, sentence
from datagen.files import write_json
from datagen.models import Completion, Sample


def finished(name, passes, n=1):
    return Finished(name, {}, {f"p{index}": (n, passed) for index, passed in enumerate(passes)})


def test_wins_and_losses_are_counted_by_problem():
    """Wins + losses + ties is the number of problems; the difference is that of the means."""
    found = paired(finished("a", [1, 0, 0, 1, 1]), finished("b", [1, 1, 1, 0, 1]))
    assert (found.wins, found.losses, found.ties) == (2, 1, 2)
    assert found.difference.value == pytest.approx(0.2)


def test_equal_evaluations_are_equal():
    """Against itself: no difference, an interval of nothing, ahead in half."""
    one = finished("a", [1, 0, 1])
    found = paired(one, one)
    assert (found.difference.low, found.difference.high, found.ahead) == (0.0, 0.0, 0.5)


def test_pairing_sees_what_two_scores_do_not():
    """200 problems of which one side solves the same and ten more: the paired interval excludes zero."""
    base, better = [1] * 80 + [0] * 120, [1] * 90 + [0] * 110
    found = paired(finished("a", base), finished("b", better))
    assert found.difference.low > 0 and found.ahead > 0.99


def test_swapping_swaps_the_sign():
    """B against A is the mirror of A against B."""
    a, b = finished("a", [1, 0, 0, 2], 2), finished("b", [0, 1, 1, 2], 2)
    there, back = paired(a, b), paired(b, a)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert there.ahead == pytest.approx(1 - back.ahead)


def test_differences_that_cancel_are_ties():
    """Half the problems better by a tenth, half worse by one: no difference, and ahead in half of the resamples."""
    found = paired(finished("a", [2] * 20, 10), finished("b", [3] * 10 + [1] * 10, 10))
    assert found.ahead == pytest.approx(0.5, abs=0.02)
    assert "pass@1 +0.0 (95 %: -" in sentence(found)


def test_nothing_in_common_is_an_error():
    """Evaluations without a common problem cannot be compared."""
    with pytest.raises(InputError, match="share no problem"):
        paired(finished("a", [1]), Finished("b", {}, {"other": (1, 1)}))


def test_the_scoreboard_is_like_the_articles(tmp_path):
    """Every problem has a line, every model its count of eight, and published lines are marked as such."""

    def worse(request):
        name = next(entry for entry in SOLUTIONS if f"called {entry}." in request.messages[-1].content)
        right = list(SOLUTIONS).index(name) < 5
        code = SOLUTIONS[name] if right else f"def {name}(*args):\n    return 0\n"
        return Completion((Sample(f"```python\n{code}```"),) * request.sampling.n)

    score(tmp_path / "first", answer)
    score(tmp_path / "second", worse)
    shown = comparison([tmp_path / "first", tmp_path / "second"])
    lines = [line.split() for line in shown.splitlines()]
    assert next(line for line in lines if line[0] == "interview/warmer-days")[2] == "0/4"
    assert ["second", "5/8"] in [line[:2] for line in lines]
    assert ["ChatGPT", "8/8"] in [line[:2] for line in lines] and "(published in 2023" in shown
    assert "second against first:" in shown


def test_what_is_no_evaluation_says_what_to_run(tmp_path):
    """A folder without a report names the command that makes one."""
    with pytest.raises(InputError, match="datagen eval --model MODEL"):
        comparison([tmp_path, tmp_path])


@pytest.mark.parametrize(
    ("table", "says"), [(None, "Copy the whole folder"), (b"PAR1", "cannot be read as Parquet"), ({"a": [1]}, "lacks")]
)
def test_a_score_without_its_verdicts_is_not_compared(tmp_path, table, says):
    """A report whose verdicts are missing, torn or something else is named, in one line."""
    (tmp_path / "interview").mkdir()
    write_json(tmp_path / "report.json", {"model": "a", "benchmarks": {"interview": {}}})
    path = tmp_path / "interview/kept.parquet"
    if isinstance(table, bytes):
        path.write_bytes(table)
    elif table:
        pl.DataFrame(table).write_parquet(path)
    with pytest.raises(InputError, match=says) as caught:
        comparison([tmp_path, tmp_path])
    assert str(path) in str(caught.value)


def interviewed(body):
    """A server's answer: what is called tuned solves every problem of the suite, any other model the first three."""
    asked = body["messages"][-1]["content"]
    place, name = next((i, name) for i, name in enumerate(SOLUTIONS) if f"called {name}." in asked)
    right = place < 3 or "tuned" in body["model"]
    text = f"[PYTHON]\n{SOLUTIONS[name] if right else 'pass'}\n[/PYTHON]"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


async def compare(folder, *arguments):
    """Exit code, stdout and stderr of `datagen compare`, typed in this folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "datagen", "compare", *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


MODELS = ("models/base/model", "models/tuned/model")


async def test_models_are_evaluated_and_then_compared(tmp_path):
    """Two models of a server, named as fine-tunes name them: each is evaluated into a folder of its own, and they are
    compared; after that the same models need no benchmark and no server.
    """
    async with FaultServer(respond=interviewed, models={"data": [{"id": name} for name in MODELS]}).running() as server:
        served = ("--engine", "server", "--base-url", server.url)
        code, out, err = await compare(tmp_path, *MODELS, "--benchmarks", "interview", *served)
    assert code == 0, err
    assert "tuned against base: 5 wins, 0 losses, 3 ties; pass@1 +62.5" in out
    assert len(server.seen) == 16 and {body["model"] for body in server.seen} == set(MODELS)
    assert (await compare(tmp_path, *MODELS))[1] == out[out.index("interview: 8 problems") :]


def test_a_model_is_not_taken_for_another_of_its_name(tmp_path, monkeypatch, capsys):
    """The finished evaluation of a model is not that of another owner's model of the same name."""
    (tmp_path / "evals/coder").mkdir(parents=True)
    write_json(tmp_path / "evals/coder/report.json", {"model": "ada/coder", "benchmarks": {}})
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "ada/coder", "bob/coder"]) == InputError.exit_code
    said = capsys.readouterr().err
    assert "bob/coder: is no finished evaluation" in said and "datagen eval --model bob/coder" in said
