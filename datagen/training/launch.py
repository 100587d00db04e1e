"""How the processes of a fine-tune are started: one plainly, several by `accelerate launch` with one of five files.

The files are accelerate/NAME.yaml beside this module; each also works by hand. What differs from run to run (number of
processes, precision, port) is given on the command line and overrides them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from datagen.config import FinetuneConfig
from datagen.errors import MissingDependency, UsageError

FILES = Path(__file__).resolve().parent / "accelerate"
WORKER = "datagen.training.worker"


def resolved(config: FinetuneConfig, gpus: int) -> tuple[str, int]:
    """How training is distributed on a machine with so many GPUs, and over how many processes.

    `auto` is single for one process; for several fsdp2, or ddp where there is no GPU (gloo) or Muon needs whole
    matrices. UsageError for what this machine cannot do, MissingDependency for ZeRO-3 without DeepSpeed.
    """
    processes = config.processes or max(gpus, 1)
    if gpus and processes > gpus:
        raise UsageError(f"{processes} processes on {gpus} GPU{'s' * (gpus > 1)}", hint=f"Give --processes {gpus}")
    how = _auto(config, processes, gpus) if config.distributed == "auto" else config.distributed
    if how == "single":
        return _single(config)
    if how == "fsdp2" and not gpus:
        raise UsageError("fsdp2 splits weights over GPUs, and this machine has none", hint="Give --distributed ddp")
    if how.startswith("zero3") and not find_spec("deepspeed"):
        raise MissingDependency(f"{how} needs DeepSpeed", hint="Type: pip install 'datagen[deepspeed]'")
    return ("single", 1) if how == "ddp" and processes == 1 else (how, processes)


def _auto(config: FinetuneConfig, processes: int, gpus: int) -> str:
    if processes == 1:
        return "single"
    return "fsdp2" if gpus and config.optimizer != "muon" else "ddp"


def _single(config: FinetuneConfig) -> tuple[str, int]:
    if config.processes > 1:
        hint = "Leave out --distributed, or --processes"
        raise UsageError(f"--distributed single is one process, not {config.processes}", hint=hint)
    return "single", 1


def command(config: FinetuneConfig, job: Path, gpus: int) -> list[str]:
    """The command that trains what the job file describes; errors as of `resolved`."""
    how, processes = resolved(config, gpus)
    if how == "single":
        return [sys.executable, "-m", WORKER, str(job)]
    flags = {
        "config_file": FILES / f"{how}.yaml",
        "num_processes": processes,
        "num_machines": 1,
        "mixed_precision": "no" if config.precision == "float32" else "bf16",
        "main_process_port": 0,  # accelerate takes a free one
    } | ({"num_cpu_threads_per_process": config.threads} if config.threads else {})
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "accelerate.commands.launch", *given, "-m", WORKER, str(job)]
