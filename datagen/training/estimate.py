"""What a full fine-tune takes before it starts: memory by what holds it, time by arithmetic.

Memory follows ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1): weights, gradients and optimizer states,
split over the devices where the way of distributing splits them. Activations follow Korthikanti et al. 2022 (arXiv
2205.05198, table 2): 34 bytes for each token, layer and hidden place, or 2 where a layer's input alone is kept.
Time counts 6 FLOPs for each weight and token, 8 where activations are computed twice (Kaplan et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.config import FinetuneConfig
from datagen.errors import InputError

GIB = 2**30
UTILISATION = 0.4
"""Share of a GPU's peak that such training reaches; 0.3 to 0.5 is what people report for 7B models."""

PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40": 181, "A6000": 155, "4090": 165, "3090": 71, "L4": 121}
"""Dense bfloat16 peak of a GPU by a part of its name, from the makers' data sheets."""


@dataclass(frozen=True, slots=True)
class Memory:
    """GiB that a device holds: weights, gradients, optimizer states, activations of a micro-batch."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it; buffers of the libraries come on top, a GiB or two."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, slots=True)
class Size:
    """How many weights a model has, how many token ids it has embeddings for, and what rows it was made for.

    `positions`: max_position_embeddings, 0 where there is none; `table`: they are a table, which longer rows leave.
    """

    parameters: int
    vocabulary: int
    positions: int = 0
    table: bool = False


def size_of(folder: Path, *, trust: bool = False) -> Size:
    """The size of the model in a folder, counted on a model without any memory; InputError if it is no such model."""
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except (*_UNREADABLE, StrictDataclassError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "Correct --model: needed is a causal language model that transformers knows"
        what = f"its config.json describes no model to train ({why})"
        raise InputError(what, where=str(folder), hint=hint) from error
    positions = getattr(config, "max_position_embeddings", None) or 0
    return Size(
        model.num_parameters(), model.get_input_embeddings().weight.shape[0], positions, table=_has_table(model)
    )


_UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, AssertionError, ArithmeticError,
    RuntimeError,
)  # fmt: skip
"""What transformers raises on a config.json that is missing, cut, of another kind of model, or wrong in a number."""


def _has_table(model: Any) -> bool:
    """Whether positions are looked up in a table, learnt (GPT-2, OPT) or fixed (GPT-J)."""
    names = (name for named in (model.named_parameters(), model.named_buffers()) for name, _ in named)
    return any(part in ("wpe", "embed_positions", "position_embeddings") for name in names for part in name.split("."))


_STATES = {"adamw": 2.0, "adamw-8bit": 0.5, "adafactor": 0.01, "muon": 1.0}
"""Optimizer states, in float32 numbers for each weight."""


def memory(
    parameters: int, shape: Mapping[str, Any], config: FinetuneConfig, distributed: str, processes: int, *,
    recomputed: bool,
) -> Memory:  # fmt: skip
    """GiB on each device; `shape` is the model's config.json (hidden_size, num_hidden_layers, vocab_size)."""
    split = processes if distributed in ("fsdp2", "zero3", "zero3-offload") else 1
    wide = 2 if config.precision == "bfloat16" else 4
    offloaded = distributed == "zero3-offload"
    hidden, layers = int(shape.get("hidden_size", 0)), int(shape.get("num_hidden_layers", 0))
    tokens = config.micro_batch * config.length
    kept = 2 * layers + 34 if recomputed else 34 * layers
    states = parameters * _STATES[config.optimizer] * wide / split
    return Memory(
        weights=0.0 if offloaded else parameters * wide / split / GIB,
        gradients=parameters * wide / split / GIB,
        optimizer=0.0 if offloaded else states / GIB,
        activations=tokens * hidden * kept / GIB,
    )


def gpu_seconds(parameters: int, tokens: int, device: str, *, recomputed: bool) -> float | None:
    """GPU seconds for so many tokens at UTILISATION of the device's peak; None for a device that is not known."""
    peak = next((value for name, value in PEAK_TFLOPS.items() if name in device), None)
    if peak is None:
        return None
    return (8 if recomputed else 6) * parameters * tokens / (peak * 1e12 * UTILISATION)
