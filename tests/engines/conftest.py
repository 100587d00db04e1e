"""One model, one vLLM engine and one vLLM server for all engine tests: starting them is what takes time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from toy_model import toy_model
from vllm_kit import LEAN, lean

from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.engines.replay import Replay
from datagen.errors import InputError
from datagen.models import Engine
from datagen.resources import resource

SERVED = "served"
CONTEXT = 1024
ALL_ENGINES = ["replay", pytest.param("vllm", marks=pytest.mark.slow), pytest.param("server", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, or a tiny Llama with random weights where it is not there."""
    try:
        return resource("data/demo-model")
    except InputError:
        pytest.importorskip("vllm")
        return random_llama(tmp_path_factory.mktemp("model"))


def random_llama(folder: Path) -> Path:
    """A Llama of 100,000 random parameters with a byte-level tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["def add(a, b): return a + b"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
    config = LlamaConfig(vocab_size=len(fast), bos_token_id=0, eos_token_id=1, **shape, **heads)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(model_folder: Path) -> AsyncIterator[Engine]:
    """vLLM in a process of its own, started once."""
    pytest.importorskip("vllm")
    with lean():
        engine = await open_engine(EngineConfig(model=str(model_folder), max_model_len=CONTEXT), share=0.5)
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def vllm_server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's own OpenAI server, in a process group of its own, which ends with the session."""
    pytest.importorskip("vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command, env = _server_command(model_folder, port), os.environ | LEAN
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, env=env)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Asks first: a killed server leaves its shared memory behind."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _server_command(model: Path, port: int) -> list[str]:
    flags = {
        "--model": model, "--served-model-name": SERVED, "--host": "127.0.0.1", "--port": port,
        "--max-model-len": CONTEXT, "--max-num-batched-tokens": 8192, "--block-size": 32,
        "--kv-cache-memory-bytes": 1 << 30, "--generation-config": "vllm",
    }  # fmt: skip
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return command + [str(part) for flag in flags.items() for part in flag]


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"vLLM's server did not come up: {log.read_text()[-3000:]}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_engine(vllm_server: str) -> AsyncIterator[Engine]:
    """The server engine, connected to vLLM's own server."""
    engine = await open_engine(EngineConfig(engine="server", model=SERVED, base_url=(vllm_server,)))
    yield engine
    await engine.close()


@pytest.fixture(scope="session", params=ALL_ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    if request.param == "replay":
        return Replay(toy_model)
    chosen: Engine = request.getfixturevalue(f"{request.param}_engine")
    return chosen
