"""The server engine against a loopback server that misbehaves on command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fault_server import MODEL, Fault, FaultServer, _response, answer, ignoring_n

from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.engines.server import Server
from datagen.errors import EngineUnavailable, RequestFailed, UsageError
from datagen.models import Message, Request, Sampling

ASK = Request((Message("user", "hi"),), Sampling(seed=100))
CONFIG = EngineConfig(engine="server", model=MODEL, retries=3, request_timeout=5.0, concurrency=8)


class Pauses(list[float]):
    """Stands in for the clock: notes each wait and goes on at once."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@asynccontextmanager
async def connected(
    server: FaultServer,
    config: EngineConfig = CONFIG,
    pauses: Pauses | None = None,
    uniform: Callable[[], float] = lambda: 0.5,
) -> AsyncIterator[Server]:
    async with server.running():
        engine = Server(config, server.url, "key-1", sleep=Pauses() if pauses is None else pauses, uniform=uniform)
        try:
            yield engine
        finally:
            await engine.close()


async def texts(engine: Server, request: Request = ASK) -> list[str]:
    return [sample.text for sample in (await engine.complete(request)).samples]


def n_of(n: int) -> Request:
    return replace(ASK, sampling=replace(ASK.sampling, n=n))


FLEETING = {
    "429": Fault(429, {"error": {"message": "slow down"}}),
    "500": Fault(500, {"error": {"message": "oops"}}),
    "503 that is not JSON": Fault(503, raw=b"<html>overloaded</html>"),
    "cut connection": Fault(body={"choices": []}, cut=True),
    "truncated JSON": Fault(raw=b'{"choices": [{"index": 0, "mess'),
    "empty choices": Fault(body={"choices": []}),
    "no choices, but an error": Fault(body={"error": {"message": "upstream died"}}),
    "a choice without a message": Fault(body={"choices": [{"index": 0}]}),
    "a list": Fault(body=[]),
    "JSON nested beyond reading": Fault(raw=b"[" * 100_000 + b"]" * 100_000),
    "a date that no calendar has": Fault(429, {}, {"Retry-After": "Mon, 01 Jan 99999 00:00:00 GMT"}),
}


@pytest.mark.parametrize("fault", FLEETING.values(), ids=FLEETING.keys())
async def test_a_fleeting_fault_is_tried_again(fault: Fault):
    """One bad answer of any kind costs a retry, not the request."""
    async with connected(_failing(fault)) as engine:
        assert await texts(engine) == ["hi|100"]


def _failing(*faults: Fault) -> FaultServer:
    server = FaultServer()
    server.faults.extend(faults)
    return server


async def test_a_slow_answer_is_tried_again():
    """An answer that takes longer than request_timeout is given up and asked for again."""
    server = _failing(Fault(body={}, delay=2.0))
    async with connected(server, replace(CONFIG, request_timeout=0.3)) as engine:
        assert await texts(engine) == ["hi|100"]
    assert len(server.seen) == 2


@pytest.mark.parametrize("fault", FLEETING.values(), ids=FLEETING.keys())
async def test_a_lasting_fault_fails_only_its_request(fault: Fault):
    """After `retries` more tries the request fails, and the next one is answered."""
    server = _failing(*[fault] * 4)
    async with connected(server) as engine:
        with pytest.raises(RequestFailed, match="4 times"):
            await engine.complete(ASK)
        assert await texts(engine) == ["hi|100"]


async def test_retry_after_is_honoured():
    """The wait is at least what the server asks for."""
    pauses = Pauses()
    async with connected(
        _failing(Fault(429, {}, {"Retry-After": "17"})), pauses=pauses, config=replace(CONFIG, request_timeout=60)
    ) as engine:
        await engine.complete(ASK)
    assert 17 <= pauses[0] <= 18


async def test_waits_grow_and_differ():
    """Without Retry-After the waits double, within a jitter of their own."""
    pauses, jitter = Pauses(), iter([0.0, 1.0, 0.0])
    async with connected(_failing(*[Fault(500)] * 3), pauses=pauses, uniform=lambda: next(jitter)) as engine:
        await engine.complete(ASK)
    assert pauses == [0.25, 1.0, 1.0]


async def test_a_refused_request_is_not_tried_again():
    """HTTP 400 fails the request at once, with the server's own words."""
    server = _failing(Fault(400, {"error": {"message": "prompt is too long"}}))
    async with connected(server) as engine:
        with pytest.raises(RequestFailed, match="prompt is too long"):
            await engine.complete(ASK)
    assert len(server.seen) == 1


async def test_a_server_that_refuses_everything_stops_the_run():
    """Three refusals before any answer mean that no request will do."""
    async with connected(_failing(*[Fault(400, {"error": {"message": "no seed here"}})] * 3)) as engine:
        for _ in range(2):
            with pytest.raises(RequestFailed):
                await engine.complete(ASK)
        with pytest.raises(EngineUnavailable, match="no seed here"):
            await engine.complete(ASK)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        (Fault(401, {"error": {"message": "bad key"}}), "OPENAI_API_KEY"),
        (Fault(403, {}), "OPENAI_API_KEY"),
        (Fault(402, {"error": {"message": "no credit"}}), "Top up"),
        (Fault(429, {"error": {"code": "insufficient_quota", "message": "quota"}}), "Top up"),
        (Fault(404, {"error": {"message": "no such model"}}), "--model"),
    ],
    ids=["401", "403", "402", "quota", "404"],
)
async def test_what_no_retry_cures_stops_the_run(fault: Fault, hint: str):
    """A refused key, an empty account or a wrong address is EngineUnavailable at once, naming the cure and the URL."""
    server = _failing(fault)
    async with connected(server) as engine:
        with pytest.raises(EngineUnavailable, match=hint) as caught:
            await engine.complete(ASK)
    assert server.url in str(caught.value)
    assert len(server.seen) == 1


async def test_a_dead_server_stops_the_run():
    """Connections refused to three requests in a row are EngineUnavailable, with the URL."""
    server = FaultServer()
    async with server.running():
        pass
    engine = Server(CONFIG, server.url, sleep=Pauses())
    for _ in range(2):
        with pytest.raises(RequestFailed):
            await engine.complete(ASK)
    with pytest.raises(EngineUnavailable, match=server.url):
        await engine.complete(ASK)
    await engine.close()


async def test_an_answer_in_between_shows_that_the_server_lives():
    """Only requests in a row count as a dead server."""
    server = _failing(*[Fault(500)] * 8)
    async with connected(server) as engine:
        for _ in range(2):
            with pytest.raises(RequestFailed):
                await engine.complete(ASK)
        await engine.complete(ASK)
        server.faults.extend([Fault(500)] * 4)
        with pytest.raises(RequestFailed):
            await engine.complete(ASK)


async def test_n_samples_come_from_one_call():
    """A server that knows n is asked once, and its choices are put in order of their index."""

    def reversed_choices(body: dict) -> dict:
        data = answer(body)
        return data | {"choices": data["choices"][::-1]}

    server = FaultServer(respond=reversed_choices)
    async with connected(server) as engine:
        assert await texts(engine, n_of(3)) == ["hi|100", "hi|101", "hi|102"]
    assert len(server.seen) == 1


async def test_a_server_that_ignores_n_is_asked_one_by_one():
    """The missing samples are asked for with the seeds that they would have had."""
    server = FaultServer(respond=ignoring_n)
    async with connected(server) as engine:
        assert await texts(engine, n_of(4)) == ["hi|100", "hi|101", "hi|102", "hi|103"]
    assert len(server.seen) == 4


async def test_a_server_that_ignores_n_is_remembered():
    """From the second request on n is not sent any more."""
    server = FaultServer(respond=ignoring_n)
    async with connected(server) as engine:
        await engine.complete(n_of(3))
        await engine.complete(n_of(3))
    assert ["n" in body for body in server.seen] == [True, False, False, False, False, False]


async def test_a_server_that_refuses_n_is_asked_one_by_one():
    """HTTP 400 for n is treated like ignoring it."""
    server = _failing(Fault(400, {"error": {"message": "n must be 1"}}))
    async with connected(server) as engine:
        assert await texts(engine, n_of(3)) == ["hi|100", "hi|101", "hi|102"]


async def test_greedy_samples_are_asked_for_once():
    """At temperature 0 all n samples are copies of one."""
    server = FaultServer()
    greedy = replace(ASK, sampling=Sampling(n=5, temperature=0.0, seed=1))
    async with connected(server) as engine:
        assert await texts(engine, greedy) == ["hi|1"] * 5
    assert len(server.seen) == 1 and "n" not in server.seen[0]


async def test_tokens_of_all_calls_are_counted():
    """A completion made of several calls costs what they cost together."""
    async with connected(FaultServer(respond=ignoring_n)) as engine:
        completion = await engine.complete(n_of(4))
    assert (completion.prompt_tokens, completion.completion_tokens) == (28, 12)


async def test_missing_usage_counts_as_zero():
    """A server that reports no usage costs nothing that is known."""
    server = _failing(Fault(body={"choices": [{"text": "x", "finish_reason": "length"}]}))
    async with connected(server) as engine:
        completion = await engine.complete(ASK)
    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    "usage", [[1], "much", {"prompt_tokens": "12", "completion_tokens": -1}, {"prompt_tokens": []}]
)
async def test_usage_that_cannot_be_read_counts_as_zero(usage: object):
    """The answer counts, whatever the server says that it took."""
    server = _failing(Fault(body={"choices": [{"text": "x"}], "usage": usage}))
    async with connected(server) as engine:
        completion = await engine.complete(ASK)
    assert completion.samples[0].text == "x" and len(server.seen) == 1
    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)


@pytest.mark.parametrize(("said", "meant"), [("length", "length"), ("stop", "stop"), ("eos", "stop"), (None, "stop")])
async def test_finish_reasons_are_mapped(said: str | None, meant: str):
    """length stays, whatever else a server says is stop."""
    server = _failing(Fault(body={"choices": [{"text": "x", "finish_reason": said}]}))
    async with connected(server) as engine:
        assert (await engine.complete(ASK)).samples[0].finish_reason == meant


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_fields_become_reasoning(name: str):
    """Where a server sets the reasoning apart itself, that is what is stored."""
    message = {"role": "assistant", "content": "42", name: "six times seven"}
    async with connected(_failing(Fault(body={"choices": [{"message": message}]}))) as engine:
        sample = (await engine.complete(ASK)).samples[0]
    assert (sample.text, sample.reasoning) == ("42", "six times seven")


async def test_sampling_reaches_the_server():
    """Temperature, top_p, max_tokens, stop, seed and n are sent under the protocol's names."""
    server = FaultServer()
    sampling = Sampling(n=2, temperature=0.3, top_p=0.7, max_tokens=9, stop=("\n\n",), seed=5)
    async with connected(server) as engine:
        await engine.complete(replace(ASK, sampling=sampling))
    assert server.seen == [
        {"model": MODEL, "n": 2, "temperature": 0.3, "top_p": 0.7, "max_tokens": 9, "stop": ["\n\n"], "seed": 5}
        | {"messages": [{"role": "user", "content": "hi"}]}
    ]


async def test_a_raw_prompt_goes_to_plain_completions():
    """A request with a prompt sends that text and no messages."""
    server = FaultServer()
    async with connected(server) as engine:
        assert await texts(engine, Request(prompt="def f(", sampling=Sampling(seed=3))) == ["def f(|3"]


async def test_without_a_template_messages_become_plain_text():
    """chat_template none joins the contents by blank lines."""
    server = FaultServer()
    two = Request((Message("system", "be brief"), Message("user", "hi")), Sampling(seed=3))
    async with connected(server, replace(CONFIG, chat_template="none")) as engine:
        assert await texts(engine, two) == ["be brief\n\nhi|3"]


async def test_an_answer_that_is_begun_is_gone_on_with():
    """A last turn of the assistant's asks the server, as vLLM's names it, to go on with it; other requests do not."""
    server = FaultServer()
    async with connected(server) as engine:
        await engine.complete(ASK)
        await engine.complete(Request((Message("user", "hi"), Message("assistant", "def f("))))
    plain, begun = server.seen
    assert "continue_final_message" not in plain
    assert (begun["continue_final_message"], begun["add_generation_prompt"]) == (True, False)


async def test_concurrency_is_bounded():
    """However many requests are made at once, no more than `concurrency` reach the server."""
    server = _failing(*[Fault(body={"choices": [{"text": "x"}]}, delay=0.01)] * 40)
    async with connected(server) as engine:
        await asyncio.gather(*(engine.complete(ASK) for _ in range(40)))
    assert server.most_in_flight == CONFIG.concurrency


async def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch):
    """OPENAI_API_KEY is the bearer token; an error about it does not contain it."""
    server = FaultServer(models_status=401, models={"error": {"message": "Incorrect API key provided: sk-secret"}})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with server.running():
        with pytest.raises(EngineUnavailable) as caught:
            await open_engine(replace(CONFIG, base_url=(server.url,)))
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "secret" not in str(caught.value)


async def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    """Without --base-url, OPENAI_BASE_URL is asked."""
    async with FaultServer().running() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        engine = await open_engine(CONFIG)
        await engine.close()
    assert len(server.headers) == 1


async def test_no_address_is_a_usage_error(monkeypatch: pytest.MonkeyPatch):
    """Nothing is sent anywhere unless an address was given."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match="--base-url"):
        await open_engine(CONFIG)


async def test_a_template_file_is_a_usage_error():
    """A chat template cannot be imposed on a server."""
    with pytest.raises(UsageError, match="template"):
        await open_engine(replace(CONFIG, base_url=("http://127.0.0.1:1/v1",), chat_template="mine.jinja"))


async def test_opening_asks_whether_anybody_is_there():
    """A server that does not answer is known before the first request."""
    with pytest.raises(EngineUnavailable, match=r"http://127.0.0.1:1/v1.*Start it"):
        await open_engine(replace(CONFIG, base_url=("http://127.0.0.1:1/v1",)))


async def test_opening_names_the_models_that_are_served():
    """A model that is not served is answered with those that are."""
    async with FaultServer(models={"data": [{"id": "alpha"}, {"id": "beta"}]}).running() as server:
        with pytest.raises(EngineUnavailable, match="does not serve tiny, but alpha, beta"):
            await open_engine(replace(CONFIG, base_url=(server.url,)))


async def test_opening_a_server_without_models_says_so():
    """An empty list of models is an error of its own."""
    async with FaultServer(models={"data": []}).running() as server:
        with pytest.raises(EngineUnavailable, match="serves no model"):
            await open_engine(replace(CONFIG, base_url=(server.url,)))


@pytest.mark.parametrize("status", [404, 405, 500])
async def test_a_server_that_lists_no_models_passes(status: int):
    """A server without the list of models, or too busy for it, is asked all the same."""
    async with FaultServer(models_status=status).running() as server:
        engine = await open_engine(replace(CONFIG, base_url=(server.url,)))
        assert (await engine.complete(ASK)).samples[0].text == "hi|100"
        await engine.close()


async def test_a_list_of_models_that_cannot_be_read_passes():
    """JSON nested beyond reading names no model; the first request will tell."""

    class Deep(FaultServer):
        async def _reply(self, request, headers, body, writer):
            if not request.startswith("GET"):
                return await super()._reply(request, headers, body, writer)
            writer.write(_response(Fault(raw=b"[" * 100_000)))
            return True

    async with Deep().running() as server:
        await (await open_engine(replace(CONFIG, base_url=(server.url,)))).close()


async def test_a_password_in_the_address_is_not_shown():
    """user:password@ is cut from what errors show."""
    engine = Server(CONFIG, "http://me:pw@127.0.0.1:1/v1", sleep=Pauses())
    with pytest.raises(RequestFailed) as caught:
        await engine.complete(ASK)
    await engine.close()
    assert "pw" not in str(caught.value)
