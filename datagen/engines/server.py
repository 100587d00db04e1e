"""Any OpenAI-compatible server: vLLM, llama.cpp, Ollama, SGLang, a paid service.

Servers differ: some ignore n, return no usage, or cut connections when they are overloaded. So a request is tried again
after growing, jittered waits (or the wait that the server asks for), answers are read with suspicion, and samples that
a server does not give at once are asked for one by one, with the seeds that they would have had.

Of several servers of one model each request goes to the one with the least in hand; one that fails loses it to another.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from datagen.config import EngineConfig
from datagen.engines.server_protocol import Again, Refused, judge, payload, read_completion, read_models
from datagen.engines.text import distinct
from datagen.errors import EngineUnavailable, RequestFailed, UsageError
from datagen.fleet import STEADY, AllLost, Fleet, Lost, Pace
from datagen.models import Completion, Engine, Request

_DEAD_AFTER = 3  # requests in a row, each failed with all its retries
_CHECK_SECONDS = 30.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """Connects to --base-url, else OPENAI_BASE_URL, with the key OPENAI_API_KEY; checks that the model is there.

    Of several addresses one has to answer; one that does not serve the model is an error.
    """
    urls, key = addresses(config)
    server = Server(config, urls[0], key) if len(urls) == 1 else Servers(config, urls, key)
    try:
        await server.check()
    except BaseException:
        await server.close()
        raise
    return server


def addresses(config: EngineConfig) -> tuple[tuple[str, ...], str]:
    """(addresses, key): from the settings and the environment; UsageError for what no server can be asked."""
    urls = config.base_url or tuple(filter(None, [os.environ.get("OPENAI_BASE_URL", "")]))
    if not urls:
        raise UsageError("no server given", hint="Give --base-url http://localhost:8000/v1, or set OPENAI_BASE_URL")
    if config.chat_template not in ("", "none"):
        hint = "Give the file to the server, or --chat-template none"
        raise UsageError("a server brings its own chat template", hint=hint)
    return urls, os.environ.get("OPENAI_API_KEY", "")


class Servers:
    """Several servers of one model as one engine, which may have as many requests at each as a `Server` alone."""

    def __init__(self, config: EngineConfig, urls: Sequence[str], key: str = "", *, pace: Pace = STEADY) -> None:
        self.model = config.model
        each = replace(config, base_url=())
        self._servers = [Server(each, url, key, alone=False) for url in dict.fromkeys(urls)]
        self._tries = config.retries + 1
        self._fleet = Fleet(self._servers, tries=self._tries, pace=pace)

    async def check(self) -> None:
        """EngineUnavailable if none answers, or one does not serve the model."""
        try:
            await self._fleet.ready(everyone=True)
        except AllLost as error:
            raise EngineUnavailable(f"no server answers ({error})", hint="Start one, or correct --base-url") from error

    async def complete(self, request: Request) -> Completion:
        """The samples from the server with the least in hand, from another where that one fails."""
        try:
            return await self._fleet.ask(lambda server: server.complete(request))
        except Lost as error:
            raise RequestFailed(f"{error}, the last of {self._tries} tries") from error
        except AllLost as error:
            hint = "See to the servers, then run the same command to go on"
            raise EngineUnavailable(f"the servers stopped answering ({error})", hint=hint) from error

    async def close(self) -> None:
        """Closes all connections."""
        await self._fleet.close()
        for server in self._servers:
            await server.close()


class Server:
    """A client that keeps at most `config.in_flight` requests in flight. `sleep` and `uniform` time its retries.

    Where it is not `alone`, a server that gives no answer is Lost at once: another may give it.
    """

    def __init__(
        self,
        config: EngineConfig,
        url: str,
        key: str = "",
        *,
        alone: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        from openai import AsyncOpenAI

        self._config, self._sleep, self._uniform = config, sleep, uniform
        self._alone = alone
        self.name = re.sub(r"//[^/@]*@", "//", url)  # as it is shown: without a password
        self._client = AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=config.request_timeout)
        self._slots = asyncio.Semaphore(config.in_flight)
        self._one_by_one = self._answered = False
        self._silences = self._refusals = 0

    @property
    def model(self) -> str:
        """The name by which the server knows the model."""
        return self._config.model

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def check(self) -> None:
        """EngineUnavailable if nothing answers, the key is refused, or the model is not among those served.

        A server that does not list its models passes: the first request will tell.
        """
        import openai

        try:
            data = await self._client.get("/models", cast_to=object, options={"timeout": _CHECK_SECONDS})
        except openai.APIStatusError as error:
            if error.status_code in (401, 402, 403):
                raise judge(error, self.name) from error
            if error.status_code >= 500 and not self._alone:
                raise Lost(f"HTTP {error.status_code}") from error
        except openai.APIConnectionError as error:
            what = f"no server answers ({error.__cause__ or error})"
            if not self._alone:
                raise Lost(what) from error
            raise EngineUnavailable(what, where=self.name, hint="Start it, or correct --base-url") from error
        except (ValueError, RecursionError):
            return  # not JSON, or nested beyond reading
        else:
            self._check_served(read_models(data))

    def _check_served(self, names: list[str] | None) -> None:
        if names is None or {self.model, f"{self.model}:latest"} & set(names):
            return
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        what = f"does not serve {self.model}, but {', '.join(names[:10])}{more}" if names else "serves no model"
        hint = "Give --model one of these" if names else "Load a model into the server"
        raise EngineUnavailable(what, where=self.name, hint=hint)

    async def complete(self, request: Request) -> Completion:
        """The request's samples in the order of their seeds, in as many calls as the server needs."""
        wanted = distinct(request.sampling)
        first = await self._first(request, wanted)
        rest = await self._one_each(request, range(len(first.samples), wanted))
        return _joined([first, *rest], request.sampling.n)

    async def _first(self, request: Request, wanted: int) -> Completion:
        """All samples in one call where the server gives them so, else the first or the first few."""
        if wanted == 1 or self._one_by_one:
            return await self._ask(request)
        try:
            answer = await self._ask(request, n=wanted)
        except Refused:
            answer = await self._ask(request)  # some refuse n where others ignore it
        self._one_by_one |= len(answer.samples) < wanted
        return answer

    async def _one_each(self, request: Request, indexes: Iterable[int]) -> list[Completion]:
        """One call for each of these samples; the first failure ends them all."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(request, index)) for index in indexes]
        except* (RequestFailed, EngineUnavailable, Lost) as failures:
            failure = failures.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise failure

    async def _ask(self, request: Request, index: int = 0, n: int = 1) -> Completion:
        """Samples from `index` on, after as many tries as it takes and `config.retries` allows."""
        plain = self._config.chat_template == "none"
        path, body = payload(self.model, request, n, request.sampling.seed + index, plain=plain)
        async with self._slots:
            for attempt in range(self._config.retries + 1):
                try:
                    answer = await self._post(path, body)
                except Again as again:
                    if again.silent and not self._alone:
                        raise Lost(str(again), wait=again.wait) from again
                    failure = again
                    if attempt < self._config.retries:
                        await self._sleep(self._wait(attempt, again))
                else:
                    self._answered, self._silences = True, 0
                    return answer
        raise self._given_up(failure)

    async def _post(self, path: str, body: dict[str, object]) -> Completion:
        """One exchange; what goes wrong in it is Again, Refused or EngineUnavailable."""
        from openai import APIError

        try:
            return read_completion(await self._client.post(path, cast_to=object, body=body))
        except (APIError, ValueError, RecursionError) as error:
            raise self._counted(judge(error, self.name), body) from error

    def _counted(self, verdict: Exception, body: dict[str, object]) -> Exception:
        """The verdict, or EngineUnavailable for the third refusal before any answer: no request will do."""
        if isinstance(verdict, Refused) and "n" not in body:
            self._refusals += 1
            if self._refusals >= _DEAD_AFTER and not self._answered:
                return EngineUnavailable(f"refuses every request: {verdict}", where=self.name)
        return verdict

    def _given_up(self, failure: Again) -> Exception:
        """RequestFailed; EngineUnavailable where several requests in a row met with nothing but silence."""
        self._silences += failure.silent
        if self._silences >= _DEAD_AFTER:
            hint = "See to the server, then run the same command to go on"
            return EngineUnavailable(f"the server stopped answering ({failure})", where=self.name, hint=hint)
        return RequestFailed(f"{self.name}: {failure}, {self._config.retries + 1} times")

    def _wait(self, attempt: int, again: Again) -> float:
        """Seconds before the next try: what the server asks for or twice the last, and some more so that not all come
        back at once."""
        if again.wait is not None:
            return min(again.wait, self._config.request_timeout) + self._uniform()
        return float(min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * (1 + self._uniform()) / 2)


def _joined(answers: list[Completion], n: int) -> Completion:
    """One completion of n samples; a single greedy one is copied."""
    samples = tuple(sample for answer in answers for sample in answer.samples)[:n]
    return Completion(
        samples * n if len(samples) < n else samples,
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.completion_tokens for answer in answers),
    )
