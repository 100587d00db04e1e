"""What verification promises: every answer is kept the moment it is there, and only what is new is run or asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import pytest_asyncio

from datagen.config import DecontaminateConfig
from datagen.engines.replay import Replay
from datagen.errors import EngineUnavailable, RequestFailed, SettingsChanged
from datagen.interrupt import Interrupt
from datagen.models import Completion, Job, Request, Sample, Sandbox, Verdict
from datagen.prompts import load_prompt, prompt_folders
from datagen.sets import BenchmarkItem
from datagen.stages import judge
from datagen.store import RunFolder
from datagen.verification import Decontaminated, Judging, Verifier, decontaminated, marks
from sandbox import Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = load_prompt("judge", prompt_folders(), judge.VARIABLES)
ITEMS = [
    BenchmarkItem(
        "own", "over", "How many elements of the list are greater than the bound? Count them one by one.",
        "def over(values, bound):\n    return sum(v > bound for v in values)\n",
        ("assert over([1, 5, 9], 4) == 2", "assert over([], 4) == 0", "assert over([5, 6], 5) == 1"), "over",
    ),
    BenchmarkItem("own", "vague", "Say something kind about the number.", "", ("assert kind(1)",), "kind"),
    BenchmarkItem("own", "prose", "Which month of the year has the fewest days, and how many are they?"),
]  # fmt: skip
REWRITTEN = "def tally(xs, top):\n    n = 0\n    for x in xs:\n        if x > top:\n            n += 1\n    return n\n"
ROWS = pl.DataFrame(
    [
        ("a", "A shop lists prices; tell how many are above a limit.", REWRITTEN),
        ("b", "Name the month with the fewest days of the year.", "def month():\n    return 'February'\n"),
        ("c", "Draw a square of stars.", "def square(n):\n    return ['*' * n] * n\n"),
    ],
    schema=["id", "question", "solution"],
    orient="row",
)
CONFIG = DecontaminateConfig(judge_similarity=0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    """One worker for the whole file."""
    async with Pool(workers=1) as opened:
        yield opened


class Counting:
    """The real sandbox, counting the jobs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self.jobs = sandbox, 0

    async def run(self, job: Job) -> Verdict:
        self.jobs += 1
        return await self._sandbox.run(job)


class Model:
    """Says `text` to everything, and counts; a text that is an exception is raised."""

    def __init__(self, text: str | Exception) -> None:
        self.text, self.asked = text, 0

    def __call__(self, request: Request) -> Completion:
        self.asked += 1
        if isinstance(self.text, Exception):
            raise self.text
        return Completion((Sample(self.text),))


async def verify(
    folder: Path, sandbox: Sandbox, config: DecontaminateConfig = CONFIG, model: Model | None = None, *,
    rows: pl.DataFrame = ROWS, items: Sequence[BenchmarkItem] = ITEMS, settings: dict | None = None,
) -> Decontaminated:  # fmt: skip
    judging = Judging(Replay(model), PROMPT, 0, settings or {}, 4) if model else None
    with RunFolder(folder) as run:
        verifier = Verifier(run, "4-decontaminate", config, sandbox, Interrupt(), judging)
        return await decontaminated(rows, items, verifier, seed=0)


def reasons(found: Decontaminated) -> dict[str, str]:
    dropped = found.selection.dropped
    return dict(zip(dropped["source_id"], dropped["reason"], strict=True))


async def test_execution_drops_what_no_word_shows(tmp_path: Path, pool: Pool) -> None:
    """A rewritten solution under a rewritten question is contaminated by execution; the item whose tests cannot tell
    is reported with the reason, and the one without tests as such.
    """
    found = await verify(tmp_path, pool)
    assert reasons(found) == {"a": "contaminated"}
    counts = found.report["methods"]["execution"]["own"]
    assert (counts["items"], counts["without_tests"], counts["rows_hit"]) == (1, 1, 1)
    assert counts["not_checkable_items"] == {"vague": "return 1 passes every test"}
    assert found.coverage["execution"].to_list() == [True, False, False]


async def test_execution_off_runs_nothing(tmp_path: Path, pool: Pool) -> None:
    """With execution off no program runs, and the row is kept."""
    counting = Counting(pool)
    found = await verify(tmp_path, counting, replace(CONFIG, execution="off"))
    assert not reasons(found) and counting.jobs == 0


async def test_span_of_a_pass_reproduces(tmp_path: Path, pool: Pool) -> None:
    """The span of an execution hit is the function's name, at its place in the solution."""
    (hit,) = (await verify(tmp_path, pool)).hits.filter(pl.col("method") == "execution").to_dicts()
    assert hit["field"] == "solution" and REWRITTEN[hit["start"] : hit["end"]] == hit["span"] == "tally"


async def test_second_run_runs_nothing_again(tmp_path: Path, pool: Pool) -> None:
    """Verified again, the same rows cost no job and give the same hits; one new row costs only its own."""
    counting, model = Counting(pool), Model("no")
    first = await verify(tmp_path, counting, model=model)
    jobs, asked = counting.jobs, model.asked
    again = await verify(tmp_path, counting, model=model)
    assert (counting.jobs, model.asked) == (jobs, asked) and again.hits.equals(first.hits)
    more = pl.concat([ROWS, ROWS.head(1).with_columns(id=pl.lit("d"))])
    grown = await verify(tmp_path, counting, model=model, rows=more)
    assert jobs < counting.jobs <= jobs + 3 and reasons(grown) == {"a": "contaminated", "d": "contaminated"}


async def test_stopped_in_the_middle_it_goes_on_to_the_same(tmp_path: Path, pool: Pool) -> None:
    """A sandbox that dies after some jobs stops the run; continued, it ends with the hits of a run that nobody stopped,
    and no row that was done runs again.
    """

    class Dies(Counting):
        async def run(self, job: Job) -> Verdict:
            if self.jobs >= 6:
                raise EngineUnavailable("gone")
            return await super().run(job)

    rows = pl.concat([ROWS.head(1).with_columns(id=pl.lit(f"r{number}")) for number in range(4)])
    counting, dies = Counting(pool), Dies(pool)
    whole = await verify(tmp_path / "whole", counting, rows=rows)
    with pytest.raises(EngineUnavailable):
        await verify(tmp_path / "broken", dies, rows=rows)
    rest = Counting(pool)
    continued = await verify(tmp_path / "broken", rest, rows=rows)
    assert continued.hits.equals(whole.hits) and continued.report == whole.report
    assert rest.jobs < counting.jobs


async def test_yes_contaminates_no_cleans_garbage_is_unresolved(tmp_path: Path, pool: Pool) -> None:
    """What the judge says of a row that nothing else found: yes drops it as contaminated, no keeps it, anything else
    drops it as unresolved; a row that is gone anyway is not asked about.
    """
    for text, reason in (("yes", "contaminated"), ("no", None), ("well, no", "unresolved")):
        found = await verify(tmp_path / text, pool, model=Model(text))
        assert reasons(found).get("b") == reason and reasons(found)["a"] == "contaminated"
        assert set(found.hits.filter(pl.col("method") == "judge")["source_id"]) <= {"b", "c"}


async def test_what_the_judge_said_is_told(tmp_path: Path, pool: Pool) -> None:
    """The hit and the dropped row of a doubt without a clear answer say both answers as they came, or the failure."""
    for said, told in (("well,\n no", "well, no | well, no"), ("", "(nothing) | (nothing)")):
        found = await verify(tmp_path / told, pool, model=Model(said))
        assert set(found.hits.filter(pl.col("method") == "unresolved")["span"]) == {told}
        row = found.selection.dropped.row(by_predicate=pl.col("source_id") == "b", named=True)
        assert row["detail"] == f"{row['item']} of {row['benchmark']} by judge: {told}"
    failed = await verify(tmp_path / "failed", pool, model=Model(RequestFailed("timed out")))
    assert "timed out" in failed.hits.filter(pl.col("method") == "unresolved")["span"][0]


async def test_failed_request_is_unresolved_and_owed(tmp_path: Path, pool: Pool) -> None:
    """A judge whose requests fail leaves its rows unresolved and owed; asked again by the same command, they are
    answered.
    """
    failed = await verify(tmp_path, pool, model=Model(RequestFailed("timed out")))
    assert reasons(failed)["b"] == "unresolved" and failed.owed > 0
    answered = await verify(tmp_path, pool, model=Model("no"))
    assert reasons(answered) == {"a": "contaminated"} and answered.owed == 0


async def test_another_judge_is_not_mixed_with_the_first(tmp_path: Path, pool: Pool) -> None:
    """Answers of a model are not taken for another's: its settings are refused by name."""
    await verify(tmp_path, pool, model=Model("no"), settings={"judge_model": "one"})
    with pytest.raises(SettingsChanged, match="judge_model"):
        await verify(tmp_path, pool, model=Model("no"), settings={"judge_model": "two"})


async def test_marks_name_each_row(tmp_path: Path, pool: Pool) -> None:
    """The column contamination has a row's reason and hit, null where it is clean, in the rows' order."""
    found = await verify(tmp_path, pool)
    column = marks(ROWS, found.selection.dropped).to_list()
    assert column[0].startswith("contaminated: over of own by execution") and column[1:] == [None, None]


async def test_nothing_to_check_against_is_no_error(tmp_path: Path, pool: Pool) -> None:
    """Without benchmark items, and without rows, nothing runs and nothing is dropped."""
    counting = Counting(pool)
    assert not reasons(await verify(tmp_path / "1", counting, items=[]))
    assert not reasons(await verify(tmp_path / "2", counting, items=ITEMS[2:], rows=ROWS.clear()))
    assert counting.jobs == 0
