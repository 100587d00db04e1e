"""Starting the processes: how `auto` resolves, what is refused, and that accelerate takes the files as they are."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from datagen.config import FinetuneConfig
from datagen.errors import MissingDependency, UsageError
from datagen.training.launch import FILES, command, resolved

NAMES = ("ddp", "fsdp2", "single", "zero3", "zero3-offload")
PROBE = """
import os
from accelerate import Accelerator
import torch
state = Accelerator(cpu=True).state  # as a trainer with use_cpu does
total = torch.ones(1)
torch.distributed.all_reduce(total)
told = state.distributed_type.value, state.num_processes, state.backend, state.mixed_precision, int(total)
os.write(1, f"{' '.join(map(str, told))}\\n".encode())  # at once: two processes write to one pipe
"""


@pytest.mark.parametrize(
    ("settings", "gpus", "expected"),
    [
        ({}, 0, ("single", 1)),
        ({}, 1, ("single", 1)),
        ({}, 8, ("fsdp2", 8)),
        ({"processes": 2}, 8, ("fsdp2", 2)),
        ({"processes": 1}, 8, ("single", 1)),
        ({"processes": 2}, 0, ("ddp", 2)),
        ({"optimizer": "muon"}, 4, ("ddp", 4)),
        ({"distributed": "single"}, 8, ("single", 1)),
        ({"distributed": "ddp"}, 8, ("ddp", 8)),
        ({"distributed": "ddp"}, 1, ("single", 1)),
        ({"distributed": "ddp", "processes": 3}, 0, ("ddp", 3)),
        ({"distributed": "fsdp2"}, 1, ("fsdp2", 1)),
    ],
)
def test_auto_fits_the_machine(settings, gpus, expected):
    """One process is plain, several GPUs split the weights, several processes without a GPU copy them."""
    assert resolved(FinetuneConfig(**settings), gpus) == expected


@pytest.mark.parametrize(
    ("settings", "gpus", "says"),
    [
        ({"processes": 4}, 2, "4 processes on 2 GPUs. Give --processes 2"),
        ({"distributed": "single", "processes": 2}, 0, "one process, not 2"),
        ({"distributed": "fsdp2", "processes": 2}, 0, "this machine has none. Give --distributed ddp"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(settings, gpus, says):
    """More processes than GPUs, several single ones, and split weights without GPUs each say what to type."""
    with pytest.raises(UsageError, match=says):
        resolved(FinetuneConfig(**settings), gpus)


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
@pytest.mark.parametrize("how", ["zero3", "zero3-offload"])
def test_zero3_without_deepspeed_names_what_to_install(how):
    """ZeRO-3 without DeepSpeed names the extra that brings it."""
    with pytest.raises(MissingDependency, match=r"pip install 'datagen\[deepspeed\]'"):
        resolved(FinetuneConfig(distributed=how), 8)


def test_single_process_is_started_plainly():
    """One process is python and the worker, without accelerate."""
    assert command(FinetuneConfig(), Path("job.json"), 0) == [
        sys.executable, "-m", "datagen.training.worker", "job.json",
    ]  # fmt: skip


def test_five_files_ship():
    """There is one file for each way of distributing, and no other."""
    assert tuple(sorted(path.stem for path in FILES.iterdir())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_takes_the_file(name):
    """accelerate's own loader takes every key of the file (it refuses unknown ones)."""
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(FILES / f"{name}.yaml"))
    assert config.distributed_type.value == {
        "single": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED", "zero3-offload": "DEEPSPEED",
    }[name]  # fmt: skip


@pytest.mark.parametrize(("name", "gpus"), [("ddp", 2), ("fsdp2", 8)])
def test_accelerate_takes_the_command(name, gpus):
    """accelerate's own parser takes every flag of the command, and the keys of the file are flags of it."""
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    line = command(FinetuneConfig(distributed=name, threads=3), Path("job.json"), gpus)
    args = launch_command_parser().parse_args(line[3:])
    assert (args.num_processes, args.mixed_precision, args.num_cpu_threads_per_process) == (gpus, "bf16", 3)
    assert (args.module, args.training_script, args.training_script_args) == (
        True, "datagen.training.worker", ["job.json"],
    )  # fmt: skip
    assert all(hasattr(args, key) for key in load_config_from_file(args.config_file).fsdp_config)


def test_fsdp_file_means_fsdp2_to_accelerate(monkeypatch):
    """What the file says reaches accelerate's plugin: version 2, layers resharded, sharded checkpoints."""
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin

    for key, value in load_config_from_file(str(FILES / "fsdp2.yaml")).fsdp_config.items():
        monkeypatch.setenv(key.upper(), str(value).lower() if isinstance(value, bool) else str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"
    assert plugin.auto_wrap_policy is not None


@pytest.mark.slow
def test_two_processes_without_a_gpu_talk_over_gloo(tmp_path):
    """The command's ddp file really starts two processes on a machine without GPUs, which add up over gloo."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    line = command(FinetuneConfig(distributed="ddp", processes=2, threads=1), Path("job.json"), 0)
    line = [*line[: line.index("-m", 3)], str(probe)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["MULTI_CPU 2 gloo bf16 2"] * 2, done.stderr
