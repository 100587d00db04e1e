"""The one module that knows TRL's names: from a job to a trained model on disk, with checkpoints on the way.

TRL (1.16) renames options often. What it is asked for here: full fine-tuning, sequences read in the order in which they
lie (`plan.py` made it), the loss averaged over the tokens of a whole step, whatever the devices and micro-batches.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from datagen.config import FinetuneConfig
from datagen.errors import InputError, Interrupted, MissingDependency, StorageError, UsageError
from datagen.files import read_json, write_json
from datagen.models import Say
from datagen.progress import duration
from datagen.training.mix import Schedule
from datagen.training.optimizers import MuonWithAdamW

CHECKPOINTS, LOG, RESULT = "checkpoints", "log.jsonl", "result.json"
_STATE = "trainer_state.json"
"""What a checkpoint's folder is given last: one without it was not finished."""


@dataclass(frozen=True, slots=True)
class Work:
    """All that a worker process needs: where the base model, the sequences and the results lie, and the settings."""

    model: str
    data: str
    folder: str
    out: str
    config: FinetuneConfig
    schedule: Schedule
    seed: int
    padding: int
    template: str = ""
    """The chat template that the rows were rendered with, saved with the model; "": plain text, saved without one."""


def train(work: Work, say: Say) -> None:
    """Trains from the last whole checkpoint, or from the base model, and leaves the model in `work.out`.

    `work.folder` gets checkpoints/, log.jsonl (a line for each step that was logged) and, last, result.json. One
    process that is interrupted writes a checkpoint first and raises Interrupted.
    """
    _quieten()
    if work.config.threads:
        torch.set_num_threads(work.config.threads)
    trainer = _trainer(work)
    watch = _Watch(work, say)
    trainer.add_callback(watch)
    before = last_checkpoint(Path(work.folder) / CHECKPOINTS)
    if before is not None:
        say(f"going on from {before.name}")
    with _stopping(watch, alone=trainer.accelerator.num_processes == 1), _full_disk(Path(work.folder)):
        trainer.train(resume_from_checkpoint=str(before) if before else None)
        if watch.stopped:
            raise Interrupted(f"Stopped at step {trainer.state.global_step:,}. Run the same command to go on")
        _save(trainer, work)
    if trainer.accelerator.is_main_process:
        write_json(Path(work.folder) / RESULT, _result(trainer, work))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole: its state, which is written last, can be read."""
    whole = [state.parent for state in folder.glob(f"checkpoint-*/{_STATE}") if _is_json(state)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        return read_json(path) is not None
    except InputError:
        return False


def attention_of(asked: str, *, gpu: bool) -> str:
    """The kernel that is asked for; `auto`: FlashAttention 2 as installed, else from the Hub's kernels, else sdpa."""
    if asked != "auto":
        return asked
    if gpu and find_spec("flash_attn"):
        return "flash_attention_2"
    return "kernels-community/flash-attn2" if gpu and find_spec("kernels") else "sdpa"


# -- what TRL is given -----------------------------------------------------------------------------------------------


def _trainer(work: Work) -> Any:
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    config = work.config
    tokenizer = AutoTokenizer.from_pretrained(work.model, trust_remote_code=config.trust_remote_code)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(work.padding)
    tokenizer.chat_template = work.template or None
    arguments = SFTConfig(**_arguments(work))  # before the model: ZeRO-3 has to know before weights are made
    if config.distributed == "single":
        arguments._n_gpu = 1  # else transformers takes every GPU it sees, by DataParallel
    model = _model(work)
    optimizer = _muon(model, config) if config.optimizer == "muon" else None
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=load_from_disk(work.data), processing_class=tokenizer,
        optimizers=(optimizer, None),
    )  # fmt: skip
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def _model(work: Work) -> Any:
    config = work.config
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    gpu = torch.cuda.is_available()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            work.model, dtype=dtype, attn_implementation=attention_of(config.attention, gpu=gpu),
            trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        why = str(error).strip().splitlines()[0]
        hint = "Correct --model or --attention, or fetch the model again"
        raise InputError(f"cannot be loaded ({why})", where=work.model, hint=hint) from error
    model.config.use_cache = False
    return model


def _arguments(work: Work) -> dict[str, Any]:
    config, plan = work.config, work.schedule
    packed = config.packing == "on"
    return _optimization(config, plan) | {
        "output_dir": str(Path(work.folder) / CHECKPOINTS),
        "max_steps": plan.steps,
        "per_device_train_batch_size": config.micro_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "train_sampling_strategy": "sequential",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "padding_free": packed,
        "max_length": None,  # plan.py dropped what is longer
        "bf16": config.precision != "float32",
        "fp16": False,
        **_cpu(config),
        "gradient_checkpointing": recomputes(config),
        "logging_steps": max(1, plan.steps // 500),
        "save_steps": config.save_steps or max(1, plan.steps // 10),
        "save_total_limit": config.keep_checkpoints,
        "report_to": config.report_to,
        "project": "datagen",
        "run_name": Path(work.out).resolve().parent.name,
        "ddp_find_unused_parameters": False,
        "seed": work.seed % 2**32,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }


def _cpu(config: FinetuneConfig) -> dict[str, Any]:
    """What a machine without a GPU needs said. DeepSpeed finds its CPU device itself; accelerate, told of a CPU, leaves
    DeepSpeed out and trains the empty weights that ZeRO-3 made.
    """
    if torch.cuda.is_available():
        return {}
    return {"ddp_backend": "gloo"} if config.distributed.startswith("zero3") else {"use_cpu": True}


def recomputes(config: FinetuneConfig) -> bool:
    """Whether activations are computed twice instead of kept."""
    return config.activation_checkpointing == "on" or (
        config.activation_checkpointing == "auto" and torch.cuda.is_available()
    )


def _optimization(config: FinetuneConfig, plan: Schedule) -> dict[str, Any]:
    names = {
        "adamw": "adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
        "adamw-8bit": "adamw_8bit",
        "adafactor": "adafactor",
        "muon": "adamw_torch",  # unused: the optimizer is handed over
    }
    if config.optimizer == "adamw-8bit" and not find_spec("bitsandbytes"):
        raise MissingDependency("--optimizer adamw-8bit needs bitsandbytes", hint="Type: pip install bitsandbytes")
    kinds = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
    kind, more = kinds[config.schedule], {}
    if config.schedule == "cosine" and config.final_share:
        kind, more = "cosine_with_min_lr", {"min_lr_rate": config.final_share}
    return {
        "optim": names[config.optimizer],
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": kind,
        "lr_scheduler_kwargs": more,
        "warmup_steps": plan.warm_up,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
    }


def _muon(model: Any, config: FinetuneConfig) -> Any:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and config.distributed not in ("single", "ddp"):
        hint = "Use --distributed ddp, or another optimizer"
        raise UsageError(f"muon does not train weights that {config.distributed} splits", hint=hint)
    return MuonWithAdamW(model, config)


# -- while it trains -------------------------------------------------------------------------------------------------


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Writes the log and says how far it is; on a signal asks for a checkpoint and the end."""

    def __init__(self, work: Work, say: Say) -> None:
        self._work, self._say = work, say
        self._log = Path(work.folder) / LOG
        self.stopped = False
        self._tokens = 0
        self._began = self._said = time.monotonic()
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began, self._first = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            _cut(self._log, state.global_step)
            self._tokens = _tokens(self._work, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.stopped:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        line = {"step": state.global_step} | {
            key: float(logs[key]) for key in ("loss", "grad_norm", "learning_rate", "num_tokens") if key in logs
        }
        if "num_tokens" in line:  # TRL counts from where this process began
            line["num_tokens"] += self._tokens
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if time.monotonic() - self._said >= 10 or state.global_step == state.max_steps:
            self._said = time.monotonic()
            self._say(self._line(state, line))

    def _line(self, state: Any, line: Mapping[str, Any]) -> str:
        done, spent = state.global_step - self._first, time.monotonic() - self._began
        left = (state.max_steps - state.global_step) * spent / max(done, 1)
        share = f"{state.global_step:,}/{state.max_steps:,} steps"
        return f"finetune: {share}, loss {line['loss']:.4f}, {done / spent:.2f} steps/s, {duration(left)} left"


def _cut(log: Path, step: int) -> None:
    """Leaves out the lines of steps that are about to be done again."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _tokens(work: Work, steps: int) -> int:
    """Tokens of all sequences that the first steps read."""
    import pyarrow.compute as pc
    from datasets import load_from_disk

    rows = load_from_disk(work.data).with_format("arrow")[: steps * work.schedule.batch]
    return pc.sum(pc.list_value_length(rows["input_ids"])).as_py() or 0


@contextmanager
def _stopping(watch: _Watch, *, alone: bool) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a checkpoint and the end; the next one stops at once.

    Several processes would notice in different steps and wait for each other for ever: there, the first one stops.
    """
    if not alone:
        yield
        return

    def stop(number: int, _: Any) -> None:
        if watch.stopped:
            raise KeyboardInterrupt
        watch.stopped = True
        print("Stopping after this step, with a checkpoint; again to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """A checkpoint that cannot be written as StorageError: the one before it stays."""
    try:
        yield
    except OSError as error:
        hint = "Make room and run the same command: it goes on from the last whole checkpoint"
        raise StorageError(f"cannot write a checkpoint ({error})", where=str(folder), hint=hint) from error


def _save(trainer: Any, work: Work) -> None:
    """Gathers the weights from wherever they lie and writes them in bfloat16 (float32 if trained in it).

    A weight that is tied to another is written once: its copies, in another precision, would count as weights.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.accelerator.is_main_process:
        return
    dtype = torch.float32 if work.config.precision == "float32" else torch.bfloat16
    model = trainer.accelerator.unwrap_model(trainer.model)
    copies = {name for name, source in getattr(model, "all_tied_weights_keys", {}).items() if source in state}
    weights = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in state.items()
        if name not in copies
    }
    model.config.use_cache, model.config.dtype = True, dtype
    model.save_pretrained(work.out, state_dict=weights)
    trainer.processing_class.save_pretrained(work.out)


def _result(trainer: Any, work: Work) -> dict[str, Any]:
    """What training came to, of all its processes since the first step: from the plan and the log, not from memory."""
    lines = (Path(work.folder) / LOG).read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    parameters = trainer.accelerator.unwrap_model(trainer.model).num_parameters()
    return {
        "steps": trainer.state.global_step,
        "tokens": _tokens(work, trainer.state.global_step),
        "losses": losses[:1] + losses[-1:],
        "parameters": parameters,
        "processes": trainer.accelerator.num_processes,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "attention": trainer.model.config._attn_implementation,
    }


def _quieten() -> None:
    """Libraries' advice to their own developers is not for the person who waits."""
    import datasets

    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
