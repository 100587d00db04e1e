"""A language model of a kind, for what needs none."""

from __future__ import annotations

import hashlib

from datagen.engines.text import plain_text
from datagen.models import Completion, Request, Sample


def toy_model(request: Request) -> Completion:
    """A language model of a kind: words that follow from the prompt and the seed by a hash; greedy at temperature 0."""
    sampling = request.sampling
    prompt = plain_text(request.messages) if request.prompt is None else request.prompt
    seeds = [sampling.seed + i if sampling.temperature else 0 for i in range(sampling.n)]
    samples = tuple(_toy_sample(f"{prompt}|{seed}", request) for seed in seeds)
    return Completion(samples, len(prompt.split()), sum(len(sample.text.split()) for sample in samples))


def _toy_sample(start: str, request: Request) -> Sample:
    numbers = range(min(200, request.sampling.max_tokens))
    text = " ".join(hashlib.sha256(f"{start}|{i}".encode()).hexdigest()[:4] for i in numbers)
    found = [text.index(stop) for stop in request.sampling.stop if stop in text]
    return Sample(text[: min(found)]) if found else Sample(text, "length")
