"""What `judge` promises: yes twice is contaminated, no twice is clean, everything else is unresolved, never clean."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from fault_server import MODEL, Fault, FaultServer
from hypothesis import given
from hypothesis import strategies as st

from datagen.config import EngineConfig
from datagen.engines.replay import Replay
from datagen.engines.server import Server
from datagen.errors import RequestFailed
from datagen.models import Completion, Outcome, Request, Sample
from datagen.neighbours import nearest
from datagen.prompts import load_prompt, prompt_folders
from datagen.sets import BenchmarkItem
from datagen.stages.judge import VARIABLES, Doubt, Judged, doubts, judge, parsed

PROMPT = load_prompt("judge", prompt_folders(), VARIABLES)
ITEM = BenchmarkItem("bench", "7", "Return the largest element of a list.")
DOUBT = Doubt("d1", "r1", "Find the maximum of some numbers.", ITEM, 0.5)


def engine(*texts: str, finish_reason: str = "stop", seen: list[Request] | None = None) -> Replay:
    """Answers the first order with the first text and the second with the second (or the same)."""

    def answer(request: Request) -> Completion:
        if seen is not None:
            seen.append(request)
        asked = request.messages[-1].content
        second = asked.index(ITEM.question) < asked.index(DOUBT.question)
        return Completion((Sample(texts[-1] if second else texts[0], finish_reason),), 30, 1)

    return Replay(answer)


async def judged(*texts: str, finish_reason: str = "stop") -> str:
    outcome = await judge(DOUBT, engine=engine(*texts, finish_reason=finish_reason), prompt=PROMPT, seed=0)
    return outcome.kept[0].answer


@pytest.mark.parametrize(
    "text", ["yes", "Yes.", " YES\n", "**yes**", "Answer: yes", "\n\n`yes`", "yes\n\nBoth ask for it."]
)
async def test_yes_twice_is_yes(text: str) -> None:
    """A plain yes in both orders is yes, whatever its case and markup."""
    assert await judged(text) == "yes"


@pytest.mark.parametrize("text", ["no", "No.", "NO!", "Answer: **no**", "no\nThey differ."])
async def test_no_twice_is_no(text: str) -> None:
    """A plain no in both orders is no."""
    assert await judged(text) == "no"


@pytest.mark.parametrize(
    "text",
    [
        "", "maybe", "No doubt they are the same", "I do not know", "Yes and no", "yes/no", "not the same", "nope",
        "none", "The answer is no", "yes, except for the name", "n", "y", "1", "true", "とても似ている",
    ],
)  # fmt: skip
async def test_anything_else_is_unresolved(text: str) -> None:
    """A sentence, a hedge, a fragment or silence is no answer, though it contain the word no or yes."""
    assert await judged(text) == "unresolved"


async def test_disagreement_is_unresolved() -> None:
    """Yes in one order and no in the other is unresolved, and both answers are kept with it."""
    outcome = await judge(DOUBT, engine=engine("yes", "no"), prompt=PROMPT, seed=0)
    assert outcome.kept[0].answer == "unresolved" and outcome.kept[0].said == ("yes", "no")
    assert await judged("no", "gibberish") == await judged("gibberish", "yes") == "unresolved"


async def test_cut_answer_is_unresolved() -> None:
    """What max_tokens cut in its first line may go on otherwise: "No" can be the start of "No doubt"."""
    assert await judged("No", finish_reason="length") == "unresolved"
    assert await judged("No\nThe first one asks", finish_reason="length") == "no"


@given(st.text(max_size=60))
def test_only_the_word_alone_is_an_answer(text: str) -> None:
    """Whatever is read as no or yes has, in the first line that says anything, no other letter or digit."""
    if (answer := parsed(text)) != "unresolved":
        lines = ["".join(c for c in line if c.isalnum()).casefold() for line in text.splitlines()]
        assert next(line for line in lines if line).removeprefix("answer") == answer


async def test_both_orders_are_asked_and_recorded() -> None:
    """Each text stands first once; both calls are recorded, so that a replayed run gives the same answer."""
    seen: list[Request] = []
    outcome = await judge(DOUBT, engine=engine("yes", seen=seen), prompt=PROMPT, seed=5)
    first, second = (request.messages[-1].content for request in seen)
    assert first.index(DOUBT.question) < first.index(ITEM.question)
    assert second.index(ITEM.question) < second.index(DOUBT.question)
    assert [call.request for call in outcome.attempts.calls] == [request.digest() for request in seen]
    assert outcome.usage.prompt_tokens == 60


async def through_server(server: FaultServer, **options: float) -> Outcome[Judged]:
    config = EngineConfig(engine="server", model=MODEL, **({"retries": 0, "request_timeout": 0.3} | options))
    async with server.running():
        connected = Server(config, server.url, "key")
        try:
            return await judge(DOUBT, engine=connected, prompt=PROMPT, seed=0)
        finally:
            await connected.close()


def says(text: str) -> Callable[[dict], dict]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return lambda body: {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}


async def test_server_that_answers_no_is_believed() -> None:
    """Through a real HTTP server, a plain no in both orders is no."""
    assert (await through_server(FaultServer(says("No.")))).kept[0].answer == "no"


@pytest.mark.parametrize(
    "fault", [Fault(delay=2.0), Fault(500, {"error": {"message": "oops"}}), Fault(body={"choices": []})]
)
async def test_time_out_of_one_order_is_no_answer(fault: Fault) -> None:
    """A server that is silent, broken or empty for one of the orders leaves the doubt owed: RequestFailed, no no."""
    server = FaultServer(says("no"))
    server.faults.append(fault)
    with pytest.raises(RequestFailed):
        await through_server(server)


def test_nearest_items_are_asked_and_settled_rows_are_not() -> None:
    """Each row is asked about its k nearest items over the least similarity; rows in `skip` and empty ones, none."""
    rows = pl.DataFrame(
        {"id": ["a", "b", "c"], "question": ["largest element of a list", "largest element of a list", ""]}
    )
    items = [ITEM, BenchmarkItem("bench", "8", "Sort a list."), BenchmarkItem("bench", "9", "Draw a tree.")]
    near = nearest(rows["question"], [item.question for item in items], 2)
    asked = list(doubts(rows, items, near, least=0.1, skip={"b"}))
    assert [(doubt.source_id, doubt.item.item) for doubt in asked] == [("a", "7"), ("a", "8")]
    assert asked[0].similarity > asked[1].similarity
    assert [d.item.item for d in doubts(rows, items, near, least=0.5, skip=set())] == ["7", "7"]


def test_doubts_are_named_by_both_texts() -> None:
    """Another wording of the row or of the item is another doubt; the same again is the same."""

    def ids(question: str, item: BenchmarkItem) -> list[str]:
        rows = pl.DataFrame({"id": ["a"], "question": [question]})
        near = nearest(rows["question"], [item.question], 1)
        return [doubt.id for doubt in doubts(rows, [item], near, least=0.0, skip=set())]

    assert ids("largest of a list", ITEM) == ids("largest of a list", ITEM)
    assert ids("largest of a list", ITEM) != ids("smallest of a list", ITEM)
    assert ids("largest of a list", ITEM) != ids("largest of a list", BenchmarkItem("bench", "7", "Largest of a list?"))
