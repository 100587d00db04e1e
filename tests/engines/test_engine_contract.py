"""What every engine promises, asked of each: replay, vLLM in this process's care, vLLM behind its own server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from datagen.models import Completion, Engine, Message, Request, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK = Request(
    (Message("system", "You write Python."), Message("user", "Add two numbers.")),
    Sampling(n=1, temperature=0.9, top_p=0.95, max_tokens=24, seed=2**61 + 12345),
)


def with_(request: Request, **changes: object) -> Request:
    return replace(request, sampling=replace(request.sampling, **changes))


def texts(completion: Completion) -> list[str]:
    return [sample.text for sample in completion.samples]


async def test_n_samples_are_returned(engine: Engine):
    """A request for n samples is answered with exactly n."""
    assert len((await engine.complete(with_(ASK, n=5))).samples) == 5


async def test_the_same_seed_gives_the_same_text(engine: Engine):
    """A request made twice is answered alike."""
    assert texts(await engine.complete(ASK)) == texts(await engine.complete(ASK))


async def test_different_seeds_give_different_texts(engine: Engine):
    """The samples of one request differ."""
    assert len(set(texts(await engine.complete(with_(ASK, n=6))))) > 1


async def test_n_at_once_are_the_samples_of_consecutive_seeds(engine: Engine):
    """Sample i of n is what a request for one with seed + i gives, in that order."""
    together = await engine.complete(with_(ASK, n=4))
    alone = [await engine.complete(with_(ASK, seed=ASK.sampling.seed + i)) for i in range(4)]
    assert texts(together) == [text for one in alone for text in texts(one)]


async def test_company_does_not_change_a_sample(engine: Engine):
    """64 requests at once are all answered, each as it would be alone."""
    requests = [with_(ASK, seed=1000 + i) for i in range(64)]
    crowd = await asyncio.gather(*(engine.complete(request) for request in requests))
    alone = [await engine.complete(requests[i]) for i in (0, 31, 63)]
    assert [texts(crowd[i]) for i in (0, 31, 63)] == [texts(one) for one in alone]
    assert all(len(completion.samples) == 1 for completion in crowd)


async def test_greedy_samples_are_copies(engine: Engine):
    """At temperature 0 all n samples are one text, whatever the seed."""
    greedy = with_(ASK, temperature=0.0, n=3)
    first, second = texts(await engine.complete(greedy)), texts(await engine.complete(with_(greedy, seed=1)))
    assert first == second == [first[0]] * 3


async def test_a_text_cut_by_max_tokens_says_so(engine: Engine):
    """finish_reason is length where max_tokens ended the text."""
    (sample,) = (await engine.complete(with_(ASK, max_tokens=2))).samples
    assert sample.finish_reason == "length"


async def test_a_stop_string_ends_the_text_before_it(engine: Engine):
    """The text ends where the stop string would begin, with finish_reason stop."""
    greedy = with_(ASK, temperature=0.0)
    (whole,) = texts(await engine.complete(greedy))
    stop = whole[len(whole) // 2 :][:2]
    (sample,) = (await engine.complete(with_(greedy, stop=(stop,)))).samples
    assert (sample.text, sample.finish_reason) == (whole[: whole.index(stop)], "stop")


async def test_a_raw_prompt_is_continued(engine: Engine):
    """A request may hold a text to go on with instead of messages."""
    completion = await engine.complete(Request(prompt="def add(a, b):", sampling=ASK.sampling))
    assert len(completion.samples) == 1


async def test_messages_are_not_their_raw_text(engine: Engine):
    """Who speaks is part of the prompt: other roles, other tokens."""
    if type(engine).__name__ == "Replay":
        pytest.skip("the function sees the request itself")
    raw = Request(prompt=ASK.messages[1].content, sampling=ASK.sampling)
    assert (await engine.complete(ASK)).prompt_tokens > (await engine.complete(raw)).prompt_tokens


async def test_tokens_are_counted(engine: Engine):
    """Prompt tokens once, generated tokens over all samples."""
    completion = await engine.complete(with_(ASK, n=3, max_tokens=8))
    assert completion.prompt_tokens > 0
    assert 3 <= completion.completion_tokens <= 24


async def test_a_cancelled_request_leaves_the_engine_usable(engine: Engine):
    """Giving up on requests in flight harms no later one."""
    tasks = [asyncio.create_task(engine.complete(with_(ASK, seed=i, max_tokens=200))) for i in range(8)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len((await engine.complete(ASK)).samples) == 1
