"""A Llama of 30,000 random weights with the demo model's tokenizer, and rows to train it on."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from datagen.resources import resource

WORDS = ("apples", "pears", "seven", "plums", "figs")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a random tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = transformers.AutoTokenizer.from_pretrained(resource("data/demo-model"))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1600, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A JSONL of 22 short rows of different lengths."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [
        {"id": f"r{n}", "question": f"count {WORDS[n % 5]} " * (1 + n % 3), "solution": f"return {n}\n" * (1 + n % 4)}
        for n in range(22)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
