"""Any OpenAI-compatible server: vLLM, llama.cpp, Ollama, SGLang, a paid service.

Servers differ: some ignore n, return no usage, or cut connections when they are overloaded. So a request is tried again
after growing, jittered waits (or the wait that the server asks for), answers are read with suspicion, and samples that
a server does not give at once are asked for one by one, with the seeds that they would have had.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterable

from datagen.config import EngineConfig
from datagen.engines.server_protocol import Again, Refused, judge, payload, read_completion, read_models
from datagen.engines.text import distinct
from datagen.errors import EngineUnavailable, RequestFailed, UsageError
from datagen.models import Completion, Engine, Request

_DEAD_AFTER = 3  # requests in a row, each failed with all its retries
_CHECK_SECONDS = 30.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """Connects to --base-url, else OPENAI_BASE_URL, with the key OPENAI_API_KEY; checks that the model is there."""
    url = config.base_url or os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        raise UsageError("no server given", hint="Give --base-url http://localhost:8000/v1, or set OPENAI_BASE_URL")
    if config.chat_template not in ("", "none"):
        hint = "Give the file to the server, or --chat-template none"
        raise UsageError("a server brings its own chat template", hint=hint)
    server = Server(config, url, os.environ.get("OPENAI_API_KEY", ""))
    try:
        await server.check()
    except BaseException:
        await server.close()
        raise
    return server


class Server:
    """A client that keeps at most `config.in_flight` requests in flight. `sleep` and `uniform` time its retries."""

    def __init__(
        self,
        config: EngineConfig,
        url: str,
        key: str = "",
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        from openai import AsyncOpenAI

        self._config, self._sleep, self._uniform = config, sleep, uniform
        self._url = re.sub(r"//[^/@]*@", "//", url)  # as it is shown: without a password
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
                raise judge(error, self._url) from error
        except openai.APIConnectionError as error:
            what = f"no server answers ({error.__cause__ or error})"
            raise EngineUnavailable(what, where=self._url, hint="Start it, or correct --base-url") from error
        except ValueError:
            return  # not JSON
        else:
            self._check_served(read_models(data))

    def _check_served(self, names: list[str] | None) -> None:
        if names is None or {self.model, f"{self.model}:latest"} & set(names):
            return
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        what = f"does not serve {self.model}, but {', '.join(names[:10])}{more}" if names else "serves no model"
        hint = "Give --model one of these" if names else "Load a model into the server"
        raise EngineUnavailable(what, where=self._url, hint=hint)

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
        except* (RequestFailed, EngineUnavailable) as failures:
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
        except (APIError, ValueError) as error:
            raise self._counted(judge(error, self._url), body) from error

    def _counted(self, verdict: Exception, body: dict[str, object]) -> Exception:
        """The verdict, or EngineUnavailable for the third refusal before any answer: no request will do."""
        if isinstance(verdict, Refused) and "n" not in body:
            self._refusals += 1
            if self._refusals >= _DEAD_AFTER and not self._answered:
                return EngineUnavailable(f"refuses every request: {verdict}", where=self._url)
        return verdict

    def _given_up(self, failure: Again) -> Exception:
        """RequestFailed; EngineUnavailable where several requests in a row met with nothing but silence."""
        self._silences += failure.silent
        if self._silences >= _DEAD_AFTER:
            hint = "See to the server, then run the same command to go on"
            return EngineUnavailable(f"the server stopped answering ({failure})", where=self._url, hint=hint)
        return RequestFailed(f"{self._url}: {failure}, {self._config.retries + 1} times")

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
