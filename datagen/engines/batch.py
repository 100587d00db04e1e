"""A provider's batch API: half the price, within a day. Requests are gathered and sent as one file.

What was sent is the provider's to keep: each line is named by a digest of its request, and a batch by its model, so
that a driver that starts again finds the batches of before and waits for them instead of sending anything twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from datagen.config import EngineConfig
from datagen.engines.server import Server, addresses
from datagen.engines.server_protocol import Again, judge_status, read_completion
from datagen.errors import EngineUnavailable, UsageError
from datagen.models import Completion, Engine, content_id

_MARK = "datagen"
_MOST_LINES, _MOST_BYTES = 50_000, 150_000_000
_REMEMBERED = 2 * 24 * 3600.0
_DEAD = ("failed", "expired", "cancelled")
_OVER = ("completed", *_DEAD)
_LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds: without a new request until what was gathered is sent, and between looks at a batch."""

    quiet: float = 10.0
    look: float = 30.0


PATIENT = Waits()


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """Connects as the server engine does, and takes up the batches of the last two days that it finds there."""
    urls, key = addresses(config)
    if len(urls) > 1:
        raise UsageError("a batch goes to one server", hint="Give one --base-url")
    engine = Batched(config, urls[0], key)
    try:
        await engine.check()
        await engine.take_up()
    except BaseException:
        await engine.close()
        raise
    return engine


class Batched(Server):
    """The server engine, each of whose exchanges is a line of a batch."""

    def __init__(
        self,
        config: EngineConfig,
        url: str,
        key: str = "",
        *,
        waits: Waits = PATIENT,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(config, url, key, sleep=sleep)
        self._client = self._client.with_options(max_retries=8)
        self._waits = waits
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._gathered: dict[str, tuple[str, bytes]] = {}
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stops waiting; what was sent stays with the provider."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tending:
            task.cancel()
        await asyncio.gather(*self._tending, return_exceptions=True)
        await super().close()

    async def take_up(self) -> None:
        """Finds the batches of an earlier driver for this model; what they answer is not asked again."""
        found = await _said(self.name, self._client.batches.list(limit=100))
        for batch in found.data:
            ours = (batch.metadata or {}).get(_MARK) == self.model[:_LONGEST_NAME]
            if ours and batch.status not in _DEAD and time.time() - batch.created_at < _REMEMBERED:
                lines = await self._lines(batch.input_file_id)
                self._tend(batch.id, [line["custom_id"] for line in lines])

    async def _post(self, path: str, body: dict[str, object]) -> Completion:
        """One exchange, as a line of the next batch or of one that is there."""
        name = content_id(path, json.dumps(body, sort_keys=True))
        if name not in self._answers:
            self._gather(name, path, body)
        try:
            said = await asyncio.shield(self._answers[name])
        finally:
            if name in self._answers and self._answers[name].done():
                del self._answers[name]  # a request that is tried again is a new line
        response = _mapping(said.get("response"))
        status = response.get("status_code")
        if status == 200:
            return read_completion(response.get("body"))
        raise self._counted(_judged(status if isinstance(status, int) else 500, said, self.name), body)

    def _gather(self, name: str, path: str, body: dict[str, object]) -> None:
        self._answers[name] = asyncio.get_running_loop().create_future()
        line = {"custom_id": name, "method": "POST", "url": f"/v1{path}", "body": body}
        self._gathered[name] = path, json.dumps(line).encode()
        self._size += len(self._gathered[name][1])
        if self._timer is not None:
            self._timer.cancel()
        full = len(self._gathered) >= _MOST_LINES or self._size >= _MOST_BYTES
        self._timer = asyncio.get_running_loop().call_later(0 if full else self._waits.quiet, self._send)

    def _send(self) -> None:
        """What was gathered becomes a batch for each path."""
        by_path: dict[str, dict[str, bytes]] = defaultdict(dict)
        for name, (path, line) in self._gathered.items():
            by_path[path][name] = line
        self._gathered, self._size = {}, 0
        for path, lines in by_path.items():
            self._track(self._sent(path, lines), lines)

    async def _sent(self, path: str, lines: dict[str, bytes]) -> None:
        data = b"\n".join(lines.values()) + b"\n"
        file = await _said(self.name, self._client.files.create(file=("datagen.jsonl", data), purpose="batch"))
        endpoint: Any = f"/v1{path}"
        made = self._client.batches.create(
            input_file_id=file.id,
            endpoint=endpoint,
            completion_window="24h",
            metadata={_MARK: self.model[:_LONGEST_NAME]},
        )
        await self._awaited((await _said(self.name, made)).id, list(lines))

    def _tend(self, batch: str, names: Sequence[str]) -> None:
        """Waits for a batch that is there already."""
        loop = asyncio.get_running_loop()
        for name in names:
            self._answers.setdefault(name, loop.create_future())
        self._track(self._awaited(batch, names), names)

    def _track(self, work: Any, names: Iterable[str]) -> None:
        """Runs the work; what ends it ends the waiting for these lines, too."""
        task = asyncio.ensure_future(work)
        self._tending.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tending.discard(done)
            error = None if done.cancelled() else done.exception()
            for name in names if error is not None else ():
                self._settle(name, error)

        task.add_done_callback(ended)

    async def _awaited(self, batch: str, names: Sequence[str]) -> None:
        """Gives each line of the batch its answer, once it is over."""
        while (seen := await _said(self.name, self._client.batches.retrieve(batch))).status not in _OVER:
            await asyncio.sleep(self._waits.look)
        if seen.status == "failed":
            raise EngineUnavailable(f"batch {batch} was refused: {_reasons(seen)}", where=self.name)
        for file in filter(None, (seen.output_file_id, seen.error_file_id)):
            for line in await self._lines(file):
                self._settle(line["custom_id"], line)
        for name in names:
            self._settle(name, Again(f"batch {batch} ended without an answer ({seen.status})"))

    async def _lines(self, file: str) -> list[dict[str, Any]]:
        """The objects of a file of JSON lines that name their request; what else stands there answers nothing."""
        content = await _said(self.name, self._client.files.content(file))
        lines = content.content.split(b"\n")  # str.splitlines splits at U+2028, too, which JSON allows in a string
        return [found for found in map(_object, lines) if isinstance(found.get("custom_id"), str)]

    def _settle(self, name: str, answer: dict[str, Any] | BaseException | None) -> None:
        future = self._answers.get(name)
        if future is None or future.done():
            return
        if isinstance(answer, BaseException):
            future.set_exception(answer)
            future.exception()  # nobody may be waiting for a line of an earlier driver
        else:
            future.set_result(answer)


async def _said(url: str, asked: Any) -> Any:
    """What the provider answers; EngineUnavailable, after the client's own tries, if it does not."""
    import openai

    try:
        return await asked
    except openai.APIStatusError as error:
        hint = "Does it have /batches and /files? Else --engine server" if error.status_code in (404, 405) else ""
        what = f"the batch API answers HTTP {error.status_code}"
        raise EngineUnavailable(what, where=url, hint=hint or "Run the same command to go on") from error
    except openai.APIConnectionError as error:
        hint = "Run the same command to go on: what was sent is not sent again"
        raise EngineUnavailable(f"connection failed ({error.__cause__ or error})", where=url, hint=hint) from error


def _object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; an empty one where there is none, as in a page of HTML or in a line that is cut."""
    try:
        return _mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _mapping(found: Any) -> dict[str, Any]:
    """What a provider says, if it is an object; else an empty one."""
    return found if isinstance(found, dict) else {}


def _judged(status: int, line: dict[str, Any], url: str) -> Exception:
    """What a line's failure means, as of a server's."""
    body = _mapping(line.get("response")).get("body") or {"error": line.get("error")}
    code = _mapping(_mapping(body).get("error")).get("code")
    return judge_status(SimpleNamespace(status_code=status, body=body, code=code, response=_NO_HEADERS), url)


_NO_HEADERS = SimpleNamespace(headers={})


def _reasons(batch: Any) -> str:
    found = [error.message for error in (batch.errors.data if batch.errors else None) or ()]
    return "; ".join(filter(None, found))[:300] or "no reason given"
