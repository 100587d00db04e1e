"""`datagen estimate`: what a run will take, by constants or by what a run showed."""

import asyncio
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import small_recipe, work

from datagen.cli import main
from datagen.config import EstimateConfig, build
from datagen.estimate import estimate, measured, unique_share
from datagen.store import read_reports

CONFIG = EstimateConfig()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small finished run."""
    folder = tmp_path_factory.mktemp("estimate")
    asyncio.run(work(folder / "run", small_recipe(folder), lambda opened: opened.everything()))
    return folder / "run"


def test_defaults_give_the_papers_funnel():
    """62,000 raw questions, about 52,000 unique, about 14,000 rows (arXiv 2308.12950, section 2.5)."""
    found = estimate(CONFIG)
    assert found.unique == pytest.approx(52_000, rel=0.01)
    assert found.rows == pytest.approx(14_000, rel=0.01)


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_tokens_follow_questions_and_time_follows_gpus(questions, gpus):
    """Twice the questions, twice the tokens; any number of GPUs does the same GPU hours."""
    one, two = (estimate(replace(CONFIG, questions=count)) for count in (questions, 2 * questions))
    assert sum(two.written.values()) == pytest.approx(2 * sum(one.written.values()))
    assert estimate(replace(CONFIG, questions=questions, gpus=gpus)).gpu_seconds == pytest.approx(one.gpu_seconds)


@given(st.floats(0.0001, 10), st.integers(1, 64))
def test_the_cores_that_it_names_do_not_hold_the_gpus_up(program_cpu, gpus):
    """With as many sandbox cores as the estimate asks for, generation or the driver is what takes longest."""
    asked = estimate(replace(CONFIG, program_cpu=program_cpu, gpus=gpus)).sandbox_cores
    given_ = estimate(replace(CONFIG, program_cpu=program_cpu, gpus=gpus, cores=int(asked) + 1))
    assert given_.held_up_by != "the sandbox"


def test_a_run_that_is_estimated_from_itself_comes_out_as_it_was(run):
    """Tokens, unique questions and rows of a finished run, from its own constants."""
    reports = {report.stage: report for report in read_reports(run)}
    raw = reports["2-dedup"].inputs - reports["2-dedup"].dropped.get("surplus", 0)
    found = estimate(build(EstimateConfig, measured(run), {"questions": raw}))
    assert found.unique == pytest.approx(reports["2-dedup"].kept)
    assert found.rows == pytest.approx(reports["4-decontaminate"].kept)
    solved = found.written["tests"] + found.written["candidates"]
    assert solved == pytest.approx(reports["3-solve"].notes["completion_tokens"])
    rounds = list((run / "2-dedup" / "rounds").iterdir())
    assert rounds and found.round_bytes == pytest.approx(sum(path.stat().st_size for path in rounds))


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_a_larger_run_is_estimated_to_repeat_itself_more(seed):
    """5,000 draws from a pool of 20,000 tell how many of 50,000 are unique: about a third, not nine in ten."""
    random = Random(seed)
    drawn = [random.randrange(20_000) for _ in range(50_000)]
    share = len(set(drawn[:5_000])) / 5_000
    assert unique_share(share, 10) == pytest.approx(len(set(drawn)) / 50_000, abs=0.06)


@given(st.floats(0.01, 1), st.floats(1, 1e6))
def test_the_share_of_unique_questions_never_grows(share, times):
    """As it was for as many, no larger for more, and at least those that were unique already."""
    assert unique_share(share, 1) == pytest.approx(share)
    assert share / times * 0.999 <= unique_share(share, times) <= share + 1e-9


def test_flags_win_over_what_a_run_showed(run, capsys):
    """`--run` gives constants, flags change them."""
    assert main(["estimate", "--run", str(run), "--questions", "1000", "--unique", "0.5", "--solved", "0.1"]) == 0
    assert "1,000 raw, 500 unique, 50 rows" in capsys.readouterr().out


def test_a_run_that_has_shown_nothing_is_an_error(tmp_path, capsys):
    """One line that says so, no estimate from nothing."""
    assert main(["estimate", "--run", str(tmp_path)]) != 0
    assert "holds no finished question" in capsys.readouterr().err
