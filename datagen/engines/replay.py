"""Answers without a model: from a plain function, or from the calls that an earlier run recorded in its ledgers.

Recorded calls are the guarantee of reproducibility: a GPU's samples depend a little on the batch they were drawn in,
a replayed run gives the same rows byte for byte.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from datagen.codec import from_json
from datagen.config import EngineConfig
from datagen.errors import InputError, RequestFailed, UsageError
from datagen.ledger import read_records
from datagen.models import Completion, Engine, Request

Answer = Callable[[Request], Completion | Awaitable[Completion]]


class Replay:
    """An engine whose answers are `function(request)`; an awaitable is awaited."""

    def __init__(self, function: Answer, model: str = "replay") -> None:
        self._function, self._model = function, model

    @property
    def model(self) -> str:
        """The name of the model that is stood in for."""
        return self._model

    async def complete(self, request: Request) -> Completion:
        """What the function answers; its exceptions pass through."""
        answer = self._function(request)
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self) -> None:
        """Nothing to free."""


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """Answers with the calls recorded in the run folder `config.replay`, under the model's own name."""
    if not config.replay:
        raise UsageError("the replay engine needs a run to replay", hint="Give --replay RUN_FOLDER")
    return Replay(replay_run(Path(config.replay)), config.model)


def replay_run(folder: Path) -> Answer:
    """A function that answers requests as the run in `folder` recorded them, token counts included.

    A request for other numbers of samples than were asked for together then is pieced together from the calls that hold
    its samples, since sample i of a call is the only one of a call with seed + i; its tokens are shares of theirs.

    All its ledgers are read once, into a temporary file; memory holds one index entry per call. A request that was not
    recorded raises RequestFailed; a folder without recorded calls is an InputError.
    """
    recording = _Recording(_recorded(folder))
    if not recording.offsets:
        raise InputError("holds no recorded calls", where=str(folder), hint="Give --replay the folder of a run")

    def answer(request: Request) -> Completion:
        found = recording.whole(request) or recording.pieced(request)
        if found is None:
            raise RequestFailed(f"{folder} did not record this request: its prompts, seed or sampling settings differ")
        return found

    return answer


class _Recording:
    """Recorded calls in a temporary file, found by their requests' digests."""

    def __init__(self, calls: Iterator[dict[str, Any]]) -> None:
        self.offsets: dict[str, int] = {}
        self._sizes: set[int] = set()
        self._calls = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as what reads it
        for call in calls:
            self.offsets[call["request"]] = self._calls.tell()
            self._sizes.add(len(call["completion"]["samples"]))
            self._calls.write(json.dumps(call["completion"]).encode() + b"\n")

    def whole(self, request: Request) -> Completion | None:
        """The call that was recorded for this very request."""
        offset = self.offsets.get(request.digest())
        if offset is None:
            return None
        self._calls.seek(offset)
        return from_json(json.loads(self._calls.readline()), Completion)

    def pieced(self, request: Request) -> Completion | None:
        """Its samples, each from a call that holds it; None if one is in none."""
        found = [self._holding(request, index) for index in range(request.sampling.n)]
        if not found or None in found:
            return None
        pairs = [pair for pair in found if pair is not None]
        tokens = sum(call.completion_tokens / len(call.samples) for call, _ in pairs)
        samples = tuple(call.samples[place] for call, place in pairs)
        return Completion(samples, pairs[0][0].prompt_tokens, round(tokens))

    def _holding(self, request: Request, index: int) -> tuple[Completion, int] | None:
        """A call in which sample `index` of this request is one of the samples, and its place there."""
        own = request.sampling
        for size in sorted(self._sizes):
            for place in range(size):
                sampling = replace(own, n=size, seed=own.seed + index - place)
                if call := self.whole(replace(request, sampling=sampling)):
                    return call, place
        return None


def _recorded(folder: Path) -> Iterator[dict[str, Any]]:
    """Every call in the ledgers of a run's stages, as plain data."""
    for ledger in sorted(folder.glob("**/ledger")):
        for record in read_records(ledger):
            yield from record["attempts"]["calls"]
