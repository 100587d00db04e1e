"""vLLM's asynchronous engine: the same class for GPUs and CPUs, all requests in flight at once.

vLLM queues what it cannot batch, so nothing here limits concurrency. Sample i of a request has the seed `seed + i`;
that is also what vLLM makes of one request for n samples. Loading is in `vllm_loading`.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from datagen.config import EngineConfig
from datagen.engines.text import distinct, make_sample
from datagen.engines.vllm_loading import Loaded, load
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.models import Completion, Engine, Request


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """Loads the model into processes of its own, with `share` of the memory; takes from 20 seconds to minutes."""
    return VLLM(config.model, await load(config, share))


class VLLM:
    """A loaded model. `complete` may be called without bound; cancelling it aborts the request."""

    def __init__(self, model: str, loaded: Loaded) -> None:
        self._model = model
        self._loaded: Loaded | None = loaded
        self._ids = itertools.count()

    @property
    def model(self) -> str:
        """The name by which the model was asked for."""
        return self._model

    @property
    def slots(self) -> int:
        """How many samples are in the making at once; more wait."""
        return self._loaded.slots if self._loaded is not None else 0

    async def complete(self, request: Request) -> Completion:
        """The request's samples in the order of their seeds."""
        loaded = self._loaded
        if loaded is None:
            raise EngineUnavailable("the engine was closed", where=self._model)
        tokens, opened = loaded.chat.encode(request)
        if len(tokens) >= loaded.max_model_len:
            room = f"the context {loaded.max_model_len} (--max-model-len)"
            raise RequestFailed(f"the prompt has {len(tokens)} tokens, {room}")
        outputs = await _generate(loaded, tokens, _sampling(request), f"datagen-{next(self._ids)}")
        samples = tuple(make_sample(o.text, o.finish_reason, opened=opened) for o in outputs)
        if len(samples) < request.sampling.n:
            samples *= request.sampling.n  # greedy: one was asked for, all are its copies
        return Completion(samples, len(tokens), sum(len(o.token_ids) for o in outputs))

    async def close(self) -> None:
        """Ends the model's processes and frees its memory."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await asyncio.to_thread(loaded.close)


async def _generate(loaded: Loaded, tokens: list[int], sampling: Any, name: str) -> list[Any]:
    """The samples. vLLM's errors end here: a dead engine is EngineUnavailable, all else RequestFailed."""
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        finished = [output async for output in loaded.engine.generate({"prompt_token_ids": tokens}, sampling, name)]
    except EngineDeadError as error:
        raise loaded.post_mortem() from error
    except (EngineGenerateError, *_refusals()) as error:
        raise RequestFailed(f"vLLM refused the request: {error}") from error
    outputs = finished[-1].outputs if finished else []
    if not outputs or any(output.finish_reason not in ("stop", "length") for output in outputs):
        raise RequestFailed("vLLM gave the request up")
    return list(outputs)


def _sampling(request: Request) -> Any:
    """vLLM's parameters for a request."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    sampling = request.sampling
    return SamplingParams(
        n=distinct(sampling),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=sampling.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it will not take: ValueError, and its own tree where it has one."""
    from vllm import exceptions

    return (ValueError, getattr(exceptions, "VLLMError", ValueError))
