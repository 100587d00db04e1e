"""Starts vLLM: its settings, its processes, its silence, and what it says when it cannot start.

Traps that were met, and what is done about each:

- A Ctrl-C goes to the whole process group, and vLLM's engine process dies of it with all that is in flight. It is
  started with SIGINT blocked, which it inherits (the resource tracker first: starting it unblocks the signal).
- It also outlives a parent that is killed: see `leash`.
- On a CPU a seeded request that lands in a chunked prefill kills the engine, so there prefills are never chunked.
- On a CPU with AMX a worker whose first prompts are short is killed: see `vllm_worker`.
- On a CPU it would take 92 % of the memory for its cache, and not start where less is free.
- Its processes print much, some of it to stdout: that goes to a nameless file, from which errors are explained.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import traceback
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any, BinaryIO

from datagen.config import EngineConfig
from datagen.engines.chat import Chat, open_chat
from datagen.engines.leash import Leash
from datagen.engines.processes import captured, in_thread, printed, without_sigint
from datagen.engines.vllm_errors import explain
from datagen.engines.weights import fetch
from datagen.errors import DatagenError
from datagen.resources import resolve_model

LONGEST_CONTEXT = 8192
_MEMORY_SHARE = 0.92
_CACHE_BYTES, _CACHE_SHARE = 4 << 30, 0.25
_QUIET = "ERROR"
_LOUD = os.environ.get("VLLM_LOGGING_LEVEL", _QUIET) != _QUIET  # who asks for more wants to see what vLLM prints


@dataclass(frozen=True, slots=True)
class Loaded:
    """A running engine and what belongs to it. `chat` turns requests into tokens."""

    engine: Any
    chat: Chat
    model: str
    max_model_len: int
    on_cpu: bool
    slots: int
    log: BinaryIO
    leash: Leash

    def close(self) -> None:
        """Ends the engine's processes, at once on a CPU, where nothing needs to be put away."""
        if self.on_cpu:
            self.engine.shutdown(timeout=0)
        else:
            self.engine.shutdown()
        self.engine.shutdown = lambda: None  # its finaliser calls it again, and fails aloud at the interpreter's end
        self.leash.drop()
        self.log.close()

    def post_mortem(self) -> DatagenError:
        """Why the engine died, from what it printed."""
        return explain(printed(self.log) or "its process ended", self.model)


async def load(config: EngineConfig, share: float) -> Loaded:
    """Fetches the model and starts an engine with `share` of the memory. Cancelling ends what was started.

    Every error is explained: EngineUnavailable, MissingDependency, or InputError for a chat template.
    """
    folder = await in_thread(lambda: fetch(resolve_model(config.model), config.revision))
    with ExitStack() as undo:
        log = undo.enter_context(tempfile.TemporaryFile())
        leash = Leash()
        undo.callback(leash.pull)
        try:
            resolved, on_cpu = await in_thread(lambda: resolve(config, folder, share))
            engine = await _launched(resolved, leash, log)
        except Exception as error:  # vLLM and what it imports raise anything; here it all means: it did not load
            raise explain("\n".join([printed(log), *traceback.format_exception(error)]), config.model) from error
        chat = open_chat(engine.tokenizer, config.chat_template, config.model)
        slots = resolved.scheduler_config.max_num_seqs
        undo.pop_all()
        return Loaded(engine, chat, config.model, engine.model_config.max_model_len, on_cpu, slots, log, leash)


def resolve(config: EngineConfig, folder: str, share: float) -> tuple[Any, bool]:
    """(vLLM's own configuration, whether it runs on the CPU)."""
    _environment()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext

    if not current_platform.device_type:
        raise RuntimeError("Failed to infer device type")
    on_cpu = current_platform.is_cpu()
    own = AsyncEngineArgs(**settings(config, folder, share, on_cpu)).create_model_config().max_model_len
    length = config.max_model_len or min(own, LONGEST_CONTEXT)
    arguments = AsyncEngineArgs(**settings(replace(config, max_model_len=length), folder, share, on_cpu))
    return arguments.create_engine_config(UsageContext.LLM_CLASS), on_cpu  # the larger batches of offline use


async def _launched(resolved: Any, leash: Leash, log: BinaryIO) -> Any:
    """The engine, once its processes are up; they are on the leash from their first moment."""
    others = {child.pid for child in active_children()}
    with captured(None if _LOUD else log):
        starting = in_thread(lambda: _start(resolved))
        await _process_or_end(starting, leash, others)
    while not starting.done():
        await _process_or_end(starting, leash, others)
    return starting.result()


async def _process_or_end(starting: asyncio.Future[Any], leash: Leash, others: set[int | None]) -> None:
    """Waits until a process of the engine is there, and on the leash, or the start has ended."""
    try:
        while not starting.done() and not _hold(leash, others):
            await asyncio.wait({starting}, timeout=0.05)
    except asyncio.CancelledError:
        starting.cancel()  # nobody waits any more for what the thread may still raise
        raise


def _start(resolved: Any) -> Any:
    from vllm.v1.engine.async_llm import AsyncLLM

    if not _LOUD:
        logging.getLogger("vllm").handlers = [logging.NullHandler()]  # what it logs here, it also raises
    with without_sigint():
        return AsyncLLM.from_vllm_config(resolved, disable_log_stats=True)


def _hold(leash: Leash, others: set[int | None]) -> bool:
    """Puts new engine processes on the leash and says whether there were any; `others` belong to someone else."""
    found = [child.pid for child in active_children() if child.name.startswith("EngineCore")]
    new = [pid for pid in found if pid is not None and pid not in others]
    for pid in new:
        leash.hold(pid)
    others.update(new)
    return bool(new)


def settings(config: EngineConfig, folder: str, share: float, on_cpu: bool) -> dict[str, Any]:
    """vLLM's engine arguments for the model in `folder`."""
    common = {
        "model": folder,
        "dtype": config.dtype,
        "quantization": config.quantization or None,
        "trust_remote_code": config.trust_remote_code,
        "tensor_parallel_size": config.tensor_parallel_size,
        "max_model_len": config.max_model_len or None,
        "gpu_memory_utilization": config.gpu_memory_utilization or _MEMORY_SHARE * share,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
    }
    return common | (_cpu_settings(config, share) if on_cpu else {})


def _cpu_settings(config: EngineConfig, share: float) -> dict[str, Any]:
    """No chunked prefill; blocks that short prompts can share; no compiler, whose gain is less than its wait."""
    cache = None if config.gpu_memory_utilization else int(min(_CACHE_BYTES, _CACHE_SHARE * free_memory()) * share)
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(config.max_model_len, LONGEST_CONTEXT),
        "block_size": 32,
        "enforce_eager": True,
        "kv_cache_memory_bytes": cache,
        "worker_extension_cls": "datagen.engines.vllm_worker.Nothing",
    }


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that programs may still take here: the machine's, or what a container's limit (cgroup 2) leaves."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    group = root / "sys/fs/cgroup"
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0, int(limit) - int(used)))


def _environment() -> None:
    """vLLM reads these when it is imported, and its processes inherit them; what the user has set stays."""
    quiet = {} if _LOUD else {"VLLM_LOGGING_LEVEL": _QUIET}
    fixed = {
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork of this process, with its threads, could deadlock
    }
    for name, value in (fixed | quiet).items():
        os.environ.setdefault(name, value)
    if quiet:
        logging.getLogger("vllm").addHandler(logging.NullHandler())  # it warns before it has set up its logging
        warnings.filterwarnings("ignore", module=r"(vllm|torch|transformers)\b")
