"""Runs the demo model with plain transformers on the CPU, for its card and its test: no vLLM has to start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from datagen.demo.score import Generate, Run
from datagen.models import Job, Request, Sampling, Verdict

BATCH = 24


def generator(folder: Path, seed: int = 0) -> Generate:
    """A function that answers requests in batches; its samples depend on `seed` and on the whole list of requests."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # a model this small only loses time to a second thread

    def generate(requests: Sequence[Request]) -> list[list[str]]:
        prompts = [
            (_prompt(request, tokens), request.sampling) for request in requests for _ in range(request.sampling.n)
        ]
        texts = iter([text for batch in _batches(prompts) for text in _sample(model, tokens, batch)])
        return [[next(texts) for _ in range(request.sampling.n)] for request in requests]

    return generate


def _prompt(request: Request, tokens: Any) -> str:
    messages = [asdict(message) for message in request.messages]
    rendered: str = tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return rendered


def _batches(prompts: Sequence[tuple[str, Sampling]]) -> list[list[tuple[str, Sampling]]]:
    """Runs of at most BATCH neighbours with the same temperature and length."""
    runs = [list(run) for _, run in groupby(prompts, key=lambda item: (item[1].temperature, item[1].max_tokens))]
    return [run[start : start + BATCH] for run in runs for start in range(0, len(run), BATCH)]


def _sample(model: Any, tokens: Any, batch: Sequence[tuple[str, Sampling]]) -> list[str]:
    import torch

    sampling = batch[0][1]
    inputs = tokens([text for text, _ in batch], return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.inference_mode():
        output = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=0,
            max_new_tokens=sampling.max_tokens,
        )
    return [tokens.decode(row, skip_special_tokens=True) for row in output[:, inputs["input_ids"].shape[1] :]]


def runner(workers: int = 2) -> Run:
    """A function that runs jobs in the sandbox, `workers` at a time."""
    from sandbox import Pool

    async def every(jobs: Sequence[Job]) -> list[Verdict]:
        async with Pool(workers) as pool:
            return list(await asyncio.gather(*map(pool.run, jobs)))

    return lambda jobs: asyncio.run(every(jobs))
