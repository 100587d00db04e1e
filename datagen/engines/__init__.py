"""Engines answer requests: one contract (`datagen.models.Engine`), one file per backend, imported when it is chosen.

A backend is a module with `async def open_engine(config, *, share) -> Engine`. To add one, write its file, name it in
`BACKENDS`, and list the name among the choices of `EngineConfig.engine`.
"""

from __future__ import annotations

from importlib import import_module

from datagen.config import EngineConfig
from datagen.errors import UsageError
from datagen.models import Engine

BACKENDS = {
    "vllm": "datagen.engines.vllm",
    "server": "datagen.engines.server",
    "batch": "datagen.engines.batch",
    "ray": "datagen.engines.ray",
    "replay": "datagen.engines.replay",
}


async def open_engine(config: EngineConfig, *, share: float = 1.0) -> Engine:
    """The engine that `config` names, ready to answer; `share` is its part of the memory where several are loaded.

    Raises EngineUnavailable if the model cannot be loaded or its server does not answer, MissingDependency if a
    package is missing, UsageError for a setting that cannot be. Cancelling stops the loading.
    """
    if config.engine not in BACKENDS:
        raise UsageError(f"no engine {config.engine!r}", hint=f"Engines: {', '.join(BACKENDS)}")
    backend = import_module(BACKENDS[config.engine])
    engine: Engine = await backend.open_engine(config, share=share)
    return engine
