"""Answers without a model: from a plain function, or from the calls that an earlier run recorded in its ledgers.

Recorded calls are the guarantee of reproducibility: a GPU's samples depend a little on the batch they were drawn in,
a replayed run gives the same rows byte for byte.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
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

    All its ledgers are read once, into a temporary file; memory holds one index entry per call. A request that was not
    recorded raises RequestFailed; a folder without recorded calls is an InputError.
    """
    calls = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the function that reads it
    offsets: dict[str, int] = {}
    for call in _recorded(folder):
        offsets[call["request"]] = calls.tell()
        calls.write(json.dumps(call["completion"]).encode() + b"\n")
    if not offsets:
        raise InputError("holds no recorded calls", where=str(folder), hint="Give --replay the folder of a run")

    def answer(request: Request) -> Completion:
        offset = offsets.get(request.digest())
        if offset is None:
            raise RequestFailed(f"{folder} did not record this request: its prompts, seed or sampling settings differ")
        calls.seek(offset)
        return from_json(json.loads(calls.readline()), Completion)

    return answer


def _recorded(folder: Path) -> Iterator[dict[str, Any]]:
    """Every call in the ledgers of a run's stages, as plain data."""
    for ledger in sorted(folder.glob("**/ledger")):
        for record in read_records(ledger):
            yield from record["attempts"]["calls"]
