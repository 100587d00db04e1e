"""Claims about a whole run: the stages wired together, with a function as the model and the real sandbox."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_run import answer, small_recipe, tables, work

from datagen import workflow
from datagen.errors import CanaryStopped, EngineUnavailable, InputError, PromptError, RequestFailed
from datagen.funnel import funnel
from datagen.models import Completion, Question, Request, Row, Sample
from datagen.recipe import Recipe
from datagen.store import read_report, read_reports
from datagen.tables import iter_rows, read_table


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    """Short prompts and few questions; everything else as shipped."""
    return small_recipe(tmp_path)


async def test_every_stage_adds_up(recipe, tmp_path):
    """At every stage, what came in is what was kept plus what was dropped with a reason; and each feeds the next."""
    await work(tmp_path / "run", recipe, lambda run: run.everything())
    found = {report.stage: report for report in read_reports(tmp_path / "run")}
    assert list(found) == [workflow.QUESTIONS, workflow.DEDUP, workflow.SOLVE, workflow.DECONTAMINATE]
    for report in found.values():
        assert report.parsed == report.kept + sum(report.dropped.values())
    assert found["1-questions"].kept == found["2-dedup"].inputs
    assert found["2-dedup"].kept == found["3-solve"].inputs
    assert found["3-solve"].kept == found["4-decontaminate"].inputs


async def test_kept_rows_pass_their_own_tests(recipe, tmp_path):
    """Every published solution really passes every one of its tests, run here by plain Python."""
    await work(tmp_path / "run", recipe, lambda run: run.everything())
    rows = list(iter_rows(tmp_path / "run/4-decontaminate/kept.parquet", Row))
    assert rows
    for row in rows:
        names: dict[str, object] = {}
        exec(row.solution, names)
        for test in row.tests:
            exec(test, names)
        assert row.messages[0].content == row.question and row.solution in row.messages[1].content


async def test_target_is_reached_exactly(recipe, tmp_path):
    """--target N gives exactly N unique questions; the rest of the last round is surplus."""
    await work(tmp_path / "run", recipe, lambda run: run.questions())
    assert read_report(tmp_path / "run/2-dedup").kept == 12


async def test_raised_target_keeps_what_was_kept(recipe, tmp_path):
    """Raising the target continues the run: every question that was kept before is kept after."""
    await work(tmp_path / "run", recipe, lambda run: run.questions())
    before = {question.id for question in iter_rows(tmp_path / "run/2-dedup/kept.parquet", Question)}
    more = replace(recipe, questions=replace(recipe.questions, target=30))
    await work(tmp_path / "run", more, lambda run: run.questions())
    after = {question.id for question in iter_rows(tmp_path / "run/2-dedup/kept.parquet", Question)}
    assert before < after and len(after) == 30


async def test_count_keeps_that_many_raw_questions(recipe, tmp_path):
    """--count N hands exactly N raw questions to dedup; what the last prompt listed beyond is surplus."""
    few = replace(recipe, questions=replace(recipe.questions, target=0, count=7))
    await work(tmp_path / "run", few, lambda run: run.questions())
    await work(tmp_path / "run", few, workflow.then(lambda run: run.dedup()))
    report = read_report(tmp_path / "run/2-dedup")
    assert report.inputs - report.dropped["surplus"] == 7


async def test_spent_budget_is_said(recipe, tmp_path):
    """A target out of reach ends when --max-generated raw questions are spent, and says so."""
    said: list[str] = []
    poor = replace(recipe, questions=replace(recipe.questions, target=500, max_generated=40))
    await work(tmp_path / "run", poor, lambda run: run.questions(), said=said)
    assert any("max-generated is spent" in line for line in said)


async def test_target_rows_goes_on_until_they_are_there(recipe, tmp_path):
    """--target-rows N makes rounds until N verified rows are there, whatever the recipe's target, and publishes N."""
    await work(tmp_path / "run", recipe, lambda run: run.everything(target_rows=20))
    assert read_table(tmp_path / "run/dataset/data/train-00000-of-00001.parquet").height == 20


async def test_target_rows_out_of_reach_ends_with_the_budget(recipe, tmp_path):
    """--target-rows gives up at --max-generated raw questions, says how far it came, and publishes what is there."""
    said: list[str] = []
    poor = replace(recipe, questions=replace(recipe.questions, max_generated=30))
    await work(tmp_path / "run", poor, lambda run: run.everything(target_rows=500), said=said)
    assert any("of 500 rows" in line for line in said) and (tmp_path / "run/dataset/README.md").exists()


async def test_missing_benchmark_is_found_before_the_first_request(recipe, tmp_path):
    """A run whose benchmark cannot be read stops before the model is asked for anything."""
    asked: list[Request] = []

    def counting(request: Request) -> Completion:
        asked.append(request)
        return answer(request)

    lost = replace(recipe, decontaminate=replace(recipe.decontaminate, against=("nowhere.jsonl",)))
    with pytest.raises(InputError, match="nowhere"):
        await work(tmp_path / "run", lost, lambda run: run.everything(), counting)
    assert not asked


async def test_optional_benchmark_is_reported_as_not_checked(recipe, tmp_path):
    """A benchmark named with "?" may be missing; the report then says that it was not checked."""
    said: list[str] = []
    optional = replace(recipe, decontaminate=replace(recipe.decontaminate, against=("nowhere.jsonl?",)))
    await work(tmp_path / "run", optional, lambda run: run.everything(), said=said)
    assert read_report(tmp_path / "run/4-decontaminate").notes["not_checked"] == ["nowhere.jsonl"]
    assert any("not checked against nowhere.jsonl" in line for line in said)


BENCHMARK = {
    "task_id": "sum",
    "question": "What is the total of the number and seven? Tell it in words that no row has.",
    "solution": "def total(n):\n    return n + 7\n",
    "tests": ["assert total(1) == 8", "assert total(-7) == 0", "assert total(30) == 37"],
    "entry_point": "total",
}


def judged(request: Request) -> Completion:
    """The model of `answer`, which as a judge calls multiplication the same task as the benchmark's."""
    text = request.messages[-1].content
    if "judge:" not in text:
        return answer(request)
    return Completion((Sample("yes" if "multiply" in text else "perhaps" if "subtract" in text else "no"),))


def checking(recipe: Recipe, folder: Path, **changes: object) -> Recipe:
    """The recipe against a benchmark of one item, with a judge who is asked about every row."""
    (folder / "bench.jsonl").write_text(json.dumps(BENCHMARK) + "\n")
    (folder / "prompts/judge.md").write_text(
        '+++\nvariables = ["first", "second"]\n+++\n## user\njudge: {{ first }} | {{ second }}\n'
    )
    against = (str(folder / "bench.jsonl"),)
    known = {"execution": "exhaustive", "judge_similarity": 0.0} | changes
    return replace(recipe, decontaminate=replace(recipe.decontaminate, against=against, **known))


async def test_execution_and_judge_drop_rows_of_a_run(recipe, tmp_path):
    """A run with a judge drops the rows whose solution passes a benchmark's tests and those that the judge calls the
    same, as contaminated, and what the judge leaves open as unresolved; the card names both methods.
    """
    both = checking(recipe, tmp_path, judge=True)
    await work(tmp_path / "run", both, lambda run: run.everything(), judged)
    kept = list(iter_rows(tmp_path / "run/4-decontaminate/kept.parquet", Row))
    dropped = read_table(tmp_path / "run/4-decontaminate/dropped.parquet")
    assert kept and all(row.entry_point.startswith("add") and row.entry_point != "add_7" for row in kept)
    verbs = {
        reason: {text.split("function ")[1].split("_")[0] for text in texts}
        for reason, texts in dropped.group_by("reason").agg("text").iter_rows()
    }
    assert "multiply" in verbs["contaminated"] and verbs["unresolved"] == {"subtract"}
    card = (tmp_path / "run/dataset/README.md").read_text()
    assert "| bench | execution | 1 |" in card and "| bench | judge | 1 |" in card and "judge.md" in card


async def test_mark_keeps_the_rows_of_a_run(recipe, tmp_path):
    """With `mark` nothing is dropped, and marked.parquet says of each row what was found."""
    await work(
        tmp_path / "run", checking(recipe, tmp_path, judge=True, mark=True), lambda run: run.everything(), judged
    )
    report = read_report(tmp_path / "run/4-decontaminate")
    marked = read_table(tmp_path / "run/4-decontaminate/marked.parquet")
    assert report.dropped == {} and report.kept == marked.height
    found = report.notes["decontamination"]["found"]
    assert marked["contamination"].drop_nulls().len() == sum(found.values()) > 0


async def test_unusable_judge_prompt_is_found_before_the_first_request(recipe, tmp_path):
    """A judge whose prompt cannot be used stops the run before the model is asked for anything."""
    wrong = checking(recipe, tmp_path, judge=True)
    (tmp_path / "prompts/judge.md").write_text('+++\nvariables = ["third"]\n+++\n## user\n{{ third }}\n')
    with pytest.raises(PromptError, match="third"):
        await work(tmp_path / "run", wrong, lambda run: run.everything(), judged)
    assert not (tmp_path / "run/1-questions").exists()


async def test_canary_stops_a_model_that_writes_rubbish(recipe, tmp_path):
    """When the first 100 prompts give too little that parses, the run stops and names the prompt's file."""
    calls = 0

    def rubbish(request: Request) -> Completion:
        nonlocal calls
        calls += 1
        return Completion((Sample("lorem"),))

    long = replace(recipe, questions=replace(recipe.questions, target=2000))
    with pytest.raises(CanaryStopped, match=r"questions\.md"):
        await work(tmp_path / "run", long, lambda run: run.everything(), rubbish)
    assert 100 <= calls <= 100 + recipe.engines["questions"].concurrency


async def test_run_stopped_by_its_engine_continues_to_the_same_bytes(recipe, tmp_path):
    """An engine that dies in the middle stops the run; continued, its tables and reports equal an unbroken run's."""
    await work(tmp_path / "whole", recipe, lambda run: run.everything())
    calls = 0

    def dies(request: Request) -> Completion:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise EngineUnavailable("the server has gone", hint="Start it")
        return answer(request)

    one_at_a_time = {step: replace(config, concurrency=1) for step, config in recipe.engines.items()}
    with pytest.raises(EngineUnavailable):
        await work(tmp_path / "broken", replace(recipe, engines=one_at_a_time), lambda run: run.everything(), dies)
    await work(tmp_path / "broken", recipe, lambda run: run.everything())
    assert tables(tmp_path / "broken") == tables(tmp_path / "whole")


async def test_failed_requests_are_owed_again(recipe, tmp_path):
    """A request that fails drops its item as engine-failed; the next run of the same command tries it again."""
    failed: set[str] = set()

    def stumbles(request: Request) -> Completion:
        if "candidate" in request.messages[-1].content and len(failed) < 3:
            failed.add(request.digest())
            raise RequestFailed("HTTP 500")
        return answer(request)

    await work(tmp_path / "run", recipe, lambda run: run.everything(), stumbles)
    first = read_report(tmp_path / "run/3-solve")
    assert first.owed == first.dropped["engine-failed"] == 3
    await work(tmp_path / "run", recipe, lambda run: run.everything(), stumbles)
    second = read_report(tmp_path / "run/3-solve")
    assert second.owed == 0 and "engine-failed" not in second.dropped


async def test_replayed_run_is_the_same_run(recipe, tmp_path):
    """`--engine replay --replay RUN` answers from the recorded calls of an earlier run, to the same bytes."""
    await work(tmp_path / "run", recipe, lambda run: run.everything())
    engines = {
        step: replace(config, engine="replay", replay=str(tmp_path / "run"), model="replay")
        for step, config in recipe.engines.items()
    }
    again = replace(recipe, engines=engines)
    await workflow.run(tmp_path / "again", again, lambda run: run.everything(), lambda line: None)
    assert tables(tmp_path / "again") == tables(tmp_path / "run")


async def test_a_later_run_keeps_nothing_that_an_earlier_one_kept(recipe, tmp_path):
    """--against RUN: the same questions again are all duplicates of the earlier run's, and name it."""
    await work(tmp_path / "first", recipe, lambda run: run.questions())
    await work(tmp_path / "second", recipe, lambda run: run.questions())
    later = replace(recipe, dedup=replace(recipe.dedup, against=(str(tmp_path / "first"),)))
    await work(tmp_path / "second", later, workflow.then(lambda run: run.dedup(unlimited=True)))
    kept = {question.question for question in iter_rows(tmp_path / "first/2-dedup/kept.parquet", Question)}
    again = {question.question for question in iter_rows(tmp_path / "second/2-dedup/kept.parquet", Question)}
    assert not kept & again
    named = read_table(tmp_path / "second/2-dedup/dropped.parquet")["kept_id"].drop_nulls()
    assert any(name.startswith(f"{tmp_path}/first:") for name in named)


async def test_rounds_of_questions_are_the_whole_set(recipe, tmp_path):
    """Later rounds of a run go on from what dedup found before; with that gone it makes the same tables to the byte."""
    found = tmp_path / "run/2-dedup/rounds"
    await work(tmp_path / "run", recipe, lambda run: run.questions())
    first = {path.name: path.read_bytes() for path in found.iterdir()}
    more = replace(recipe, questions=replace(recipe.questions, target=30))
    await work(tmp_path / "run", more, lambda run: run.questions())
    second = {path.name: path.read_bytes() for path in found.iterdir()}
    assert first and first.items() < second.items()
    rounds = tables(tmp_path / "run")
    for path in found.iterdir():
        path.unlink()
    await work(tmp_path / "run", more, workflow.then(lambda run: run.dedup()))
    assert tables(tmp_path / "run") == rounds


async def test_a_run_is_not_compared_with_itself(recipe, tmp_path):
    """--against the run's own folder is refused: every question would be its own duplicate."""
    await work(tmp_path / "run", recipe, lambda run: run.questions())
    itself = replace(recipe, dedup=replace(recipe.dedup, against=(str(tmp_path / "run"),)))
    with pytest.raises(InputError, match="itself"):
        await work(tmp_path / "run", itself, workflow.then(lambda run: run.dedup()))


async def test_early_stop_publishes_the_rows_of_the_full_run(recipe, tmp_path):
    """The data set has the same ids and texts, the columns that only a full run knows are null, and the funnel says
    what was saved.
    """
    early = replace(recipe, solve=replace(recipe.solve, early_stop=True))
    for name, one in (("full", recipe), ("early", early)):
        await work(tmp_path / name, one, lambda run: run.everything())
    unknown = ["n_tried", "n_passed", "pass_rate", "difficulty"]
    full, stopped = (read_table(tmp_path / name / "4-decontaminate/kept.parquet") for name in ("full", "early"))
    assert stopped.drop(unknown).equals(full.drop(unknown)) and stopped.height > 0
    assert stopped.select(unknown[1:]).null_count().row(0) == (stopped.height,) * 3
    spent, saved = (read_report(tmp_path / name / "3-solve") for name in ("full", "early"))
    assert saved.notes["candidates_drawn"] + saved.notes["candidates_saved"] == 4 * saved.inputs
    assert "early stop" in funnel([saved]) and "early stop" not in funnel([spent])


async def test_a_stopped_search_goes_on_to_the_same_rows(recipe, tmp_path):
    """With early stop, too, a run that its engine ended and the same command continued has the rows of a whole one."""
    early = replace(recipe, solve=replace(recipe.solve, early_stop=True))
    await work(tmp_path / "whole", early, lambda run: run.everything())
    calls = 0

    def dies(request: Request) -> Completion:
        nonlocal calls
        calls += 1
        if calls > 25:
            raise EngineUnavailable("the server has gone", hint="Start it")
        return answer(request)

    with pytest.raises(EngineUnavailable):
        await work(tmp_path / "broken", early, lambda run: run.everything(), dies)
    await work(tmp_path / "broken", early, lambda run: run.everything())
    for table in ("3-solve/kept.parquet", "3-solve/dropped.parquet", "4-decontaminate/kept.parquet"):
        assert (tmp_path / "broken" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()


async def test_early_stop_is_answered_by_a_recorded_full_run(recipe, tmp_path):
    """Replay finds the candidates of a wave in the call for all of them that an earlier run recorded."""
    await work(tmp_path / "run", recipe, lambda run: run.everything())
    engines = {
        step: replace(config, engine="replay", replay=str(tmp_path / "run"), model="replay")
        for step, config in recipe.engines.items()
    }
    again = replace(recipe, engines=engines, solve=replace(recipe.solve, early_stop=True))
    await workflow.run(tmp_path / "again", again, lambda run: run.everything(), lambda line: None)
    rows = [read_table(tmp_path / name / "3-solve/kept.parquet")["solution", "id"] for name in ("run", "again")]
    assert rows[0].equals(rows[1]) and read_report(tmp_path / "again/3-solve").notes["candidates_saved"] > 0
