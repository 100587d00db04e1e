"""The same fine-tune for other trainers: a config for axolotl or LLaMA-Factory, with the rows as messages beside it.

Keys follow the projects' own references (axolotl's config reference; LLaMA-Factory's hparams and data README). Where an
option means something else there, or is missing, a comment in the file says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.config import FinetuneConfig
from datagen.errors import InputError, UsageError
from datagen.files import storing, write_json, write_whole
from datagen.resources import resolve_model
from datagen.training.encode import Example
from datagen.training.mix import schedule
from datagen.training.rows import Pair

ROWS, ZERO3 = "messages.jsonl", "zero3.json"
Line = tuple[str, Any, str]
"""A key, its value, and what to know about it (empty: nothing)."""


def export_config(kind: str, config: FinetuneConfig, rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Writes the rows and the config of `kind` (axolotl, llama-factory) into `folder`; returns the config's path.

    Each row has `messages`, of which the last is what is learnt. UsageError for another kind or settings that cannot be
    shared by --processes; InputError for a row without messages.
    """
    if kind not in EXPORTS:
        raise UsageError(f"no export {kind}", hint=f"Known: {', '.join(EXPORTS)}")
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / ROWS, b"".join(_row(number, row) for number, row in enumerate(rows)))
    if config.distributed.startswith("zero3"):
        write_json(folder / ZERO3, _deepspeed(offload=config.distributed == "zero3-offload"))
    if kind == "llama-factory":
        write_json(folder / "dataset_info.json", {"datagen": _described()})
    path = folder / f"{kind}.yaml"
    write_whole(path, EXPORTS[kind](config).encode())
    return path


def chats(pairs: Iterable[Pair], examples: Iterable[Example]) -> list[dict[str, Any]]:
    """Rows of messages for those of the pairs that became examples, in order: none that was dropped."""
    kept = {example.id for example in examples}
    return [
        {"messages": [*(asdict(turn) for turn in pair.messages), {"role": "assistant", "content": pair.completion}]}
        if pair.messages
        else {"text": pair.completion}
        for pair in pairs
        if pair.id in kept
    ]


def _row(number: int, row: Mapping[str, Any]) -> bytes:
    messages = row.get("messages")
    if not messages:
        hint = "Leave out --rehearsal of plain text: a chat trainer cannot read it"
        raise InputError(f"row {number} has no messages", hint=hint)
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
    return json.dumps({"messages": turns}, ensure_ascii=False).encode() + b"\n"


def axolotl(config: FinetuneConfig) -> str:
    """An axolotl config (YAML) that trains `messages.jsonl` beside it as `config` says."""
    return _yaml(
        "axolotl train axolotl.yaml",
        config,
        (
            ("base_model", _base(config), ""),
            *_if(config.revision, ("revision_of_model", config.revision, "")),
            ("trust_remote_code", config.trust_remote_code, ""),
            *_axolotl_template(config),
            ("datasets", [_axolotl_rows(config)], ""),
            ("train_on_inputs", config.loss == "all", ""),
            ("val_set_size", 0.0, ""),
            ("sequence_len", config.length, "longer rows are dropped, as here (excess_length_strategy)"),
            ("sample_packing", config.packing == "on", "needs FlashAttention or FlexAttention to keep rows apart"),
            ("pad_to_sequence_len", config.packing == "on", ""),
            *_axolotl_steps(config),
            *_axolotl_hardware(config),
            ("output_dir", "model-axolotl", ""),
            ("save_total_limit", config.keep_checkpoints, ""),
            *_if(config.report_to == "wandb", ("wandb_project", "datagen", "")),
            *_if(config.report_to == "tensorboard", ("use_tensorboard", True, "")),
            *_if(config.report_to == "trackio", ("use_trackio", True, "")),
        ),
    )


def _axolotl_template(config: FinetuneConfig) -> Iterator[Line]:
    if config.chat_template in ("", "none"):
        yield "chat_template", "tokenizer_default", "a tokenizer without one is an error there; plain text here"
    else:
        template = _read(config.chat_template)
        yield "chat_template", "jinja", ""
        yield "chat_template_jinja", template, ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the chat template ({error})", where=path, hint="Check --chat-template"
        ) from error


def _axolotl_rows(config: FinetuneConfig) -> dict[str, Any]:
    roles = ["system", "user", "assistant"] if config.loss == "all" else ["assistant"]
    return {
        "path": ROWS, "ds_type": "json", "type": "chat_template", "field_messages": "messages",
        "roles_to_train": roles, "train_on_eos": "all" if config.loss == "all" else "turn",
    }  # fmt: skip


def _axolotl_steps(config: FinetuneConfig) -> Iterator[Line]:
    names = {"adamw": "adamw_torch_fused", "adamw-8bit": "adamw_bnb_8bit", "adafactor": "adafactor", "muon": "muon"}
    yield "num_epochs", config.epochs, ""
    yield from _if(config.max_steps, ("max_steps", config.max_steps, ""))
    yield "micro_batch_size", config.micro_batch, ""
    yield _accumulation(config)
    yield "optimizer", names[config.optimizer], _one_rate(config)
    yield "learning_rate", config.learning_rate, ""
    yield "lr_scheduler", _scheduler(config), ""
    if config.schedule == "cosine" and config.final_share:
        yield "cosine_min_lr_ratio", config.final_share, ""
    yield _warm_up(config)
    yield from _adam(config)
    yield "weight_decay", config.weight_decay, ""
    yield "max_grad_norm", config.max_grad_norm, ""


def _axolotl_hardware(config: FinetuneConfig) -> Iterator[Line]:
    masters = "weights and optimizer are bfloat16 there, too, except under DeepSpeed; float32 here"
    if config.precision == "float32":
        yield "float32", True, ""
        yield "bf16", False, ""
    else:
        yield "bf16", True, masters if config.precision == "mixed" else ""
    yield "gradient_checkpointing", config.activation_checkpointing != "off", ""
    yield "attn_implementation", "flash_attention_2" if config.attention == "auto" else config.attention, ""
    if config.distributed.startswith("zero3"):
        yield "deepspeed", ZERO3, ""
    if config.distributed == "fsdp2" or (config.distributed == "auto" and config.processes > 1):
        yield "fsdp_version", 2, ""
        yield "fsdp_config", _FSDP, "add transformer_layer_cls_to_wrap if the model names no layers itself"


_FSDP = {
    "offload_params": False, "cpu_ram_efficient_loading": True, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "state_dict_type": "FULL_STATE_DICT", "reshard_after_forward": True,
}  # fmt: skip


def llama_factory(config: FinetuneConfig) -> str:
    """A LLaMA-Factory config (YAML) that trains `messages.jsonl` beside it, described by `dataset_info.json`."""
    return _yaml(
        _factory_command(config),
        config,
        (
            ("model_name_or_path", _base(config), ""),
            *_if(config.revision, ("model_revision", config.revision, "")),
            ("trust_remote_code", config.trust_remote_code, ""),
            ("stage", "sft", ""),
            ("do_train", True, ""),
            ("finetuning_type", "full", ""),
            ("dataset_dir", ".", ""),
            ("dataset", "datagen", ""),
            ("template", None, "none: the tokenizer's own, as here; a base model without one gets plain text"),
            ("cutoff_len", config.length, "longer rows are cut there, which breaks their code; dropped here"),
            ("train_on_prompt", config.loss == "all", ""),
            ("packing", config.packing == "on", ""),
            ("neat_packing", config.packing == "on", "keeps packed rows apart"),
            *_factory_steps(config),
            *_factory_hardware(config),
            ("output_dir", "model-llama-factory", ""),
            ("logging_steps", 1, ""),
            *_if(config.save_steps, ("save_steps", config.save_steps, "")),
            ("save_total_limit", config.keep_checkpoints, ""),
            ("report_to", config.report_to, ""),
        ),
    )


def _factory_command(config: FinetuneConfig) -> str:
    split = config.distributed == "fsdp2" or (config.distributed == "auto" and config.processes > 1)
    note = "\n# FSDP2 there: start it with `accelerate launch --config_file` and datagen's fsdp2.yaml" if split else ""
    launcher = "FORCE_TORCHRUN=1 " * config.distributed.startswith("zero3")
    return f"{launcher}llamafactory-cli train llama-factory.yaml{note}"


def _factory_steps(config: FinetuneConfig) -> Iterator[Line]:
    yield "num_train_epochs", float(config.epochs), ""
    yield from _if(config.max_steps, ("max_steps", config.max_steps, ""))
    yield "per_device_train_batch_size", config.micro_batch, ""
    yield _accumulation(config)
    if config.optimizer == "muon":
        yield "use_muon", True, _one_rate(config)
    else:
        names = {"adamw": "adamw_torch_fused", "adamw-8bit": "adamw_8bit", "adafactor": "adafactor"}
        yield "optim", names[config.optimizer], ""
    yield "learning_rate", config.learning_rate, ""
    if config.schedule == "cosine" and config.final_share:
        yield "lr_scheduler_type", "cosine_with_min_lr", ""
        yield "lr_scheduler_kwargs", {"min_lr_rate": config.final_share}, ""
    else:
        yield "lr_scheduler_type", _scheduler(config), ""
    yield _warm_up(config)
    yield from _adam(config)
    yield "weight_decay", config.weight_decay, ""
    yield "max_grad_norm", config.max_grad_norm, ""


def _factory_hardware(config: FinetuneConfig) -> Iterator[Line]:
    attention = {"auto": "auto", "sdpa": "sdpa", "eager": "disabled"}
    if config.precision != "float32":
        yield "bf16", True, ""
    if config.precision == "bfloat16":
        yield "pure_bf16", True, ""
    yield "disable_gradient_checkpointing", config.activation_checkpointing == "off", ""
    yield "flash_attn", attention.get(config.attention, "fa2"), ""
    if config.distributed.startswith("zero3"):
        yield "deepspeed", ZERO3, ""


EXPORTS: Mapping[str, Callable[[FinetuneConfig], str]] = {"axolotl": axolotl, "llama-factory": llama_factory}


# -- what both share -------------------------------------------------------------------------------------------------


def _base(config: FinetuneConfig) -> str:
    """The base model, from whatever folder the trainer is started in."""
    name = resolve_model(config.model)
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _accumulation(config: FinetuneConfig) -> Line:
    note = "" if config.processes else "for one GPU: divide it by their number, or export with --processes"
    return "gradient_accumulation_steps", schedule(config, 1, max(1, config.processes)).accumulation, note


def _scheduler(config: FinetuneConfig) -> str:
    return "constant_with_warmup" if config.schedule == "constant" else config.schedule


def _one_rate(config: FinetuneConfig) -> str:
    return f"one rate for all weights there; here matrices have {config.matrix_rate:g}" * (config.optimizer == "muon")


def _warm_up(config: FinetuneConfig) -> Line:
    """Steps where they are known: the ratio has another name in every other version of transformers."""
    if 0 < config.warm_up < 1:
        return "warmup_ratio", config.warm_up, ""
    return "warmup_steps", round(config.warm_up), ""


def _adam(config: FinetuneConfig) -> Iterator[Line]:
    if config.optimizer.startswith("adamw"):
        yield "adam_beta1", config.beta1, ""
        yield "adam_beta2", config.beta2, ""


def _if(given: object, line: Line) -> Iterator[Line]:
    if given:
        yield line


def _described() -> dict[str, Any]:
    """The rows in LLaMA-Factory's terms: its sharegpt format with OpenAI's names."""
    tags = {
        "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
        "system_tag": "system",
    }  # fmt: skip
    return {"file_name": ROWS, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}


def _deepspeed(*, offload: bool) -> dict[str, Any]:
    """DeepSpeed's own config of ZeRO-3; what is `auto` the trainer fills in."""
    device = {"device": "cpu" if offload else "none"}
    return {
        "bf16": {"enabled": "auto"},
        "zero_optimization": {
            "stage": 3, "offload_optimizer": device, "offload_param": device,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "gradient_accumulation_steps": "auto", "gradient_clipping": "auto", "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }  # fmt: skip


def _yaml(command: str, config: FinetuneConfig, lines: Sequence[Line]) -> str:
    """The file: how to start it, then a key a line; values are JSON, which YAML reads."""
    head = [
        f"# In this folder: {command}",
        f"# Rows read as {config.form}; written by datagen, every weight is trained.",
    ]
    told = [f"{key}: {_value(value)}" + (f"  # {note}" if note else "") for key, value, note in lines]
    return "\n".join([*head, *told]) + "\n"


def _value(value: Any) -> str:
    """JSON; a float always has a point, without which YAML 1.1 takes 2e-05 for a word."""
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_value(part)}" for key, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
