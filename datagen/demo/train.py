"""Trains the embedded demo model from nothing: `python -m datagen.demo.train --out data/demo-model`.

A Llama of about two million weights reads fresh lessons of the problem generator on one CPU thread, packed without
crossing attention. Matrices learn by Muon, embeddings and norms by AdamW; what is saved is a running average of the
weights, so that every save is usable.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from datagen.demo import tokenizer as words
from datagen.demo.lessons import Lesson, lesson
from datagen.demo.packing import arrays, rows

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Plan:
    """The shape of the model and of its training; a step reads `rows` x `length` tokens."""

    seed: int = 0
    steps: int = 4200
    seconds: float = float("inf")
    hidden: int = 160
    layers: int = 6
    intermediate: int = 448
    head: int = 32
    vocabulary: int = 1600
    rows: int = 8
    length: int = 512
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    warm_up: int = 50
    decay: float = 0.5
    average: float = 0.995
    start: Path | None = None
    save_every: float = 240.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a training run did; `tokens` counts those that were predicted."""

    steps: int
    tokens: int
    seconds: float
    loss: float


def train(plan: Plan, out: Path, note: Callable[[str], None]) -> Summary:
    """Trains by `plan` and leaves a Hugging Face model folder in `out`, rewritten every `save_every` seconds.

    The learning rate falls to zero over the last `decay` of the run, by the larger of the shares of steps and seconds.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    tokens, model = _begun(plan) if plan.start else _new(plan)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.average)
    )
    summary = _learn(plan, model, averaged, _batches(plan, tokens), lambda: save(averaged.module, tokens, out), note)
    save(averaged.module, tokens, out)
    return summary


def _learn(
    plan: Plan, model: Any, averaged: Any, batches: Iterator[Any], keep: Callable[[], None], note: Callable[[str], None]
) -> Summary:
    optimizers = _optimizers(model, plan)
    compiled = torch.compile(lambda *batch: _loss(model, *batch))
    began = saved = time.monotonic()
    seen, loss, step = 0, 0.0, 0
    while (done := max(step / plan.steps, (time.monotonic() - began) / plan.seconds)) < 1:
        batch = next(batches)
        value = _step(compiled, batch, optimizers, _scale(step, done, plan))
        averaged.update_parameters(model)
        loss = value if step == 0 else 0.98 * loss + 0.02 * value
        seen, step = seen + int((batch[1] != IGNORED).sum()), step + 1
        if step % 50 == 0:
            spent = time.monotonic() - began
            note(f"step {step}  {100 * done:.1f} %  loss {loss:.4f}  {seen / 1e6:.2f} M tokens  {spent:.0f} s")
        if time.monotonic() - saved > plan.save_every:
            keep()
            saved = time.monotonic()
    return Summary(step, seen, time.monotonic() - began, loss)


def _step(compiled: Any, batch: Any, optimizers: Sequence[Any], scale: float) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        loss = compiled(*batch)
    loss.backward()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * scale
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def _loss(model: Any, ids: Any, labels: Any, positions: Any, mask: Any) -> Any:
    logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED)


def _scale(step: int, done: float, plan: Plan) -> float:
    """Linear warm-up, then constant, then linear to zero."""
    return min(1.0, (step + 1) / plan.warm_up, (1 - done) / plan.decay)


def _optimizers(model: Any, plan: Plan) -> tuple[Any, Any]:
    """Muon for the layers' matrices, AdamW for the tied embedding and the norms."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in named if weight.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=0.01)
    adamw = torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
    for optimizer in (muon, adamw):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return muon, adamw


def _begun(plan: Plan) -> tuple[Any, Any]:
    """The tokenizer and the weights of a saved model, to be trained further."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(plan.start, dtype=torch.float32, attn_implementation="sdpa")
    return AutoTokenizer.from_pretrained(plan.start), model


def _new(plan: Plan) -> tuple[Any, Any]:
    """A tokenizer built from lessons and a model with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = words.build(_texts(Random(f"vocabulary {plan.seed}")), plan.vocabulary)
    heads = plan.hidden // plan.head
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=plan.vocabulary,
            hidden_size=plan.hidden,
            intermediate_size=plan.intermediate,
            num_hidden_layers=plan.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=plan.head,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
            attn_implementation="sdpa",
        )
    )
    return tokens, model


def _batches(plan: Plan, tokens: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Endless (ids, labels, positions, mask) of fresh lessons; a label is the next token of the same lesson."""
    rng = Random(plan.seed)
    packed = rows(lambda: _drawn(rng, tokens, plan.length), plan.length)
    while True:
        ids, positions, owners = map(torch.from_numpy, arrays([next(packed) for _ in range(plan.rows)], plan.length))
        following = (owners[:, 1:] == owners[:, :-1]) & (owners[:, 1:] > 0)
        labels = torch.full_like(ids, IGNORED)
        labels[:, :-1] = torch.where(following, ids[:, 1:], IGNORED)
        same = owners[:, None, :, None] == owners[:, None, None, :]
        yield ids, labels, positions, same & torch.ones(plan.length, plan.length, dtype=torch.bool).tril()


def _drawn(rng: Random, tokens: Any, length: int) -> list[int]:
    """The tokens of the next lesson that fits a row."""
    while True:
        ids: list[int] = tokens(text(lesson(rng), tokens), add_special_tokens=False)["input_ids"]
        if len(ids) <= length:
            return ids


def text(drawn: Lesson, tokens: Any) -> str:
    """The lesson through the chat template, answer and end included."""
    messages = [*map(asdict, drawn.messages), {"role": "assistant", "content": drawn.answer}]
    rendered: str = tokens.apply_chat_template(messages, tokenize=False)
    return rendered


def _texts(rng: Random, count: int = 20000) -> Iterator[str]:
    for _ in range(count):
        drawn = lesson(rng)
        yield drawn.messages[-1].content
        yield drawn.answer


def save(model: Any, tokens: Any, out: Path) -> None:
    """Writes weights (bfloat16), configuration, tokenizer and chat template into `out`."""
    deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    tokens.save_pretrained(out)
    make_portable(out)


def make_portable(out: Path) -> None:
    """Names the tokenizer's class as every release of transformers knows it, and lets everyone read the weights."""
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    ours = {key: value for key, value in config.items() if key not in {"backend", "is_local", "local_files_only"}}
    path.write_text(
        json.dumps(ours | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n", encoding="utf-8"
    )
    (out / "model.safetensors").chmod(0o644)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `make demo-model`."""
    parser = argparse.ArgumentParser(prog="python -m datagen.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--steps", type=int, default=4200, help="optimizer steps of 4,096 tokens (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time at the latest")
    parser.add_argument("--start", type=Path, help="folder of a model to train further, instead of a new one")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    plan = Plan(seed=given.seed, steps=given.steps, seconds=given.seconds, start=given.start)
    summary = train(plan, given.out, lambda line: print(line, file=sys.stderr, flush=True))
    rounds = [*_earlier(plan), asdict(summary) | {"seed": plan.seed, "torch": torch.__version__}]
    (given.out / "training.json").write_text(json.dumps(rounds, indent=2) + "\n", encoding="utf-8")
    print(rounds[-1])


def _earlier(plan: Plan) -> list[dict[str, Any]]:
    """The rounds of training that the model to start from has had."""
    if plan.start is None:
        return []
    rounds: list[dict[str, Any]] = json.loads((plan.start / "training.json").read_text(encoding="utf-8"))
    return rounds


if __name__ == "__main__":
    main()
