"""What surrounds vLLM, without loading a model: settings, errors, chat templates, downloads, processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datagen.config import EngineConfig
from datagen.engines.chat import Chat, open_chat
from datagen.engines.leash import Leash
from datagen.engines.processes import captured, in_thread, printed, without_sigint
from datagen.engines.vllm_errors import explain, root_cause
from datagen.engines.vllm_loading import free_memory, settings
from datagen.engines.weights import fetch
from datagen.errors import EngineUnavailable, InputError, MissingDependency, UsageError
from datagen.models import Message, Request
from datagen.resources import resource

ASK = Request((Message("system", "Be brief."), Message("user", "Hi")))


class Letters:
    """A tokenizer of one token a letter, with a template in Hugging Face's manner; -1 begins a text."""

    chat_template: Any = "<{role}>"

    def apply_chat_template(self, messages: list[dict[str, str]], *, chat_template: str, **options: bool) -> str:
        return "".join(chat_template.format(**message) + message["content"] for message in messages) + "<think>\n"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [-1] * add_special_tokens + [ord(letter) for letter in text]


def text_of(tokens: list[int]) -> str:
    return "".join("^" if token < 0 else chr(token) for token in tokens)


def test_memory_is_shared_between_models():
    """Two models on one GPU get half of 92 percent each."""
    assert settings(EngineConfig(), "m", 0.5, on_cpu=False)["gpu_memory_utilization"] == pytest.approx(0.46)


def test_a_chosen_share_of_memory_stands():
    """--gpu-memory-utilization is passed on as it is."""
    assert settings(EngineConfig(gpu_memory_utilization=0.3), "m", 0.5, on_cpu=False)["gpu_memory_utilization"] == 0.3


def test_prefills_are_not_chunked_on_a_cpu():
    """A batch there always has room for the longest prompt."""
    chosen = settings(EngineConfig(max_model_len=16384), "m", 1.0, on_cpu=True)
    assert chosen["enable_chunked_prefill"] is False and chosen["max_num_batched_tokens"] >= 16384


def test_the_cache_is_modest_on_a_cpu():
    """A quarter of the free memory at most, and 4 GiB at most, so that the sandbox has room."""
    cache = settings(EngineConfig(), "m", 1.0, on_cpu=True)["kv_cache_memory_bytes"]
    assert 0 < cache <= min(4 << 30, free_memory() / 4 * 1.5)


@pytest.mark.parametrize(
    ("limit", "used", "free"), [("max", "5", 4096), ("3000", "1000", 2000), ("9999999", "0", 4096), ("10", "20", 0)]
)
def test_a_containers_limit_counts(tmp_path: Path, limit: str, used: str, free: int):
    """Free is what the machine has, or what the control group leaves of its limit."""
    for name, content in [
        ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:       4 kB\n"),
        ("sys/fs/cgroup/memory.max", limit),
        ("sys/fs/cgroup/memory.current", used),
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert free_memory(tmp_path) == free


TRAPS = [
    ("ModuleNotFoundError: No module named 'vllm'", MissingDependency, "datagen[vllm]"),
    ("ModuleNotFoundError: No module named 'torch'", MissingDependency, "datagen[cpu]"),
    (
        "RuntimeError: operator torchvision::nms does not exist",
        MissingDependency,
        "pip uninstall torchvision torchaudio",
    ),
    (
        '  File "/lib/torchaudio/_extension.py"\nOSError: libcudart.so.13: cannot open',
        MissingDependency,
        "pip uninstall",
    ),
    ("ImportError: libcuda.so.1: cannot open shared object file", EngineUnavailable, "datagen[cpu]"),
    ("RuntimeError: Failed to infer device type", EngineUnavailable, "--engine server"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried", EngineUnavailable, "--gpu-memory-utilization"),
    ("ValueError: Free memory on device (2/80 GiB) is less than desired GPU memory", EngineUnavailable, "free memory"),
    ("ValueError: 4.0 GiB KV cache is needed, which is larger than", EngineUnavailable, "--max-model-len"),
    (
        "ValueError: The repository x contains custom code which must be executed",
        EngineUnavailable,
        "--trust-remote-code",
    ),
]


@pytest.mark.parametrize(("text", "kind", "hint"), TRAPS, ids=[text[:40] for text, _, _ in TRAPS])
def test_known_traps_are_explained(text: str, kind: type[Exception], hint: str):
    """Each is recognised by its words, and the cure is named."""
    error = explain(f"Traceback ...\n{text}\nRuntimeError: Engine core initialization failed.", "m")
    assert type(error) is kind and hint in str(error)


def test_the_first_exception_is_the_cause():
    """Processes pass errors on; the line that counts is the one that began it."""
    log = (
        "(Worker pid=3) ERROR 11-21 05:01:13 [x.py:1] ZeroDivisionError: division by zero\n"
        "(EngineCore pid=2) ERROR 11-21 [y.py:2] RuntimeError: Worker failed with error 'division by zero'\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert root_cause(log) == "ZeroDivisionError: division by zero"


def test_a_worker_that_died_without_a_word_is_the_cause():
    """Killed by a signal it says nothing; what waited for it only says that it was cancelled."""
    log = (
        "(EngineCore pid=2) ERROR 11-26 [x.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: None), "
        "shutting down executor.\n(EngineCore pid=2) ERROR 11-26 [y.py:1512] RuntimeError: cancelled\n"
    )
    assert root_cause(log) == "Worker proc VllmWorker-0 died unexpectedly"


def test_an_invalid_setting_is_named():
    """Of pydantic's report, the field and what is wrong with it."""
    report = "1 validation error for ModelConfig\ndtype.x\n  Value error, Unknown dtype: f17 [type=value_error]\n"
    assert root_cause(report) == "dtype: Unknown dtype: f17"


def test_an_error_is_one_line_even_without_a_reason():
    """Silence is said to be silence."""
    assert "it gave no reason" in str(explain("", "m"))


def test_messages_go_through_the_template():
    """The template writes who speaks, and the tokens that begin a text."""
    tokens, _ = open_chat(Letters(), "", "m").encode(ASK)
    assert text_of(tokens) == "<system>Be brief.<user>Hi<think>\n"


def test_a_template_that_opens_a_thought_is_noticed():
    """The answer then begins with reasoning."""
    chat = open_chat(Letters(), "", "m")
    assert chat.encode(ASK)[1] and not chat.encode(Request(prompt="x"))[1]


def test_a_raw_prompt_is_encoded_as_it_is():
    """No roles; the tokenizer's own beginning."""
    assert text_of(open_chat(Letters(), "", "m").encode(Request(prompt="def"))[0]) == "^def"


@pytest.mark.parametrize(("tokenizer", "chosen"), [(Letters(), "none"), (SimpleNamespace(encode=Letters().encode), "")])
def test_without_a_template_messages_are_plain_text(tokenizer: Any, chosen: str):
    """Chosen, or because the model is a base model."""
    assert text_of(open_chat(tokenizer, chosen, "m").encode(ASK)[0]) == "^Be brief.\n\nHi"


def test_a_template_file_replaces_the_models_own(tmp_path: Path):
    """The user's template wins."""
    (tmp_path / "t.jinja").write_text("[{role}]")
    assert text_of(open_chat(Letters(), str(tmp_path / "t.jinja"), "m").encode(ASK)[0]).startswith("[system]")


def test_a_missing_template_file_is_an_input_error():
    """It names the file."""
    with pytest.raises(InputError, match=r"nowhere\.jinja"):
        open_chat(Letters(), "nowhere.jinja", "m")


def test_a_template_that_refuses_stops_the_run():
    """A template that takes no system message takes none in the next request either."""
    from jinja2 import TemplateError

    class Strict(Letters):
        def apply_chat_template(self, *messages: object, **options: object) -> str:
            raise TemplateError("System role not supported")

    with pytest.raises(UsageError, match=r"System role not supported.*--chat-template"):
        Chat(Strict(), "x", "m").encode(ASK)


def test_of_several_templates_the_default_is_used():
    """Some tokenizers name more than one."""
    tokenizer = Letters()
    tokenizer.chat_template = {"tool_use": "?", "default": "<{role}>"}
    assert text_of(open_chat(tokenizer, "", "m").encode(ASK)[0]).startswith("<system>")


def test_a_folder_is_not_fetched(tmp_path: Path):
    """Nothing is asked of the Hub."""
    assert fetch(str(tmp_path), download=lambda *args, **options: pytest.fail("asked")) == str(tmp_path)


def test_safetensors_are_preferred(tmp_path: Path):
    """Weights in PyTorch's own format are fetched only where there are no others."""
    asked: list[list[str]] = []

    def download(model: str, *, allow_patterns: list[str], **options: object) -> str:
        asked.append(allow_patterns)
        (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    assert fetch("some/model", "abc", download=download) == str(tmp_path)
    assert len(asked) == 1 and "*.bin" not in asked[0]


def test_older_weights_are_fetched_where_there_are_no_others(tmp_path: Path):
    """The second call asks for them."""
    asked: list[list[str]] = []
    fetch(
        "some/model", download=lambda model, *, allow_patterns, **options: asked.append(allow_patterns) or str(tmp_path)
    )
    assert ["*.bin" in patterns for patterns in asked] == [False, True]


def hub_error(name: str) -> Exception:
    from huggingface_hub import errors

    kind: type[Exception] = getattr(errors, name)
    return kind.__new__(kind)  # their constructors want a response


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GatedRepoError", "hf auth login"),
        ("RevisionNotFoundError", "--revision"),
        ("RepositoryNotFoundError", "--model"),
        ("HFValidationError", "--model"),
        ("LocalEntryNotFoundError", "hf download"),
        ("OfflineModeIsEnabled", "hf download"),
        ("HfHubHTTPError", "Run the same command again"),
    ],
)
def test_the_hubs_errors_are_said_in_the_users_terms(name: str, hint: str):
    """Each names the model and what to do."""

    def download(*args: object, **options: object) -> str:
        raise hub_error(name)

    with pytest.raises(EngineUnavailable, match=hint) as caught:
        fetch("some/model", "rev", download=download)
    assert "some/model" in str(caught.value)


def test_a_path_that_is_not_there_is_not_looked_up():
    """What looks like a path is one."""
    with pytest.raises(EngineUnavailable, match="no such folder"):
        fetch("./not-here", download=lambda *args, **options: pytest.fail("asked"))


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_pulled_leash_kills():
    """What is held ends."""
    process, leash = sleeper(), Leash()
    leash.hold(process.pid)
    leash.pull()
    assert process.wait(10) == -signal.SIGKILL


def test_a_dropped_leash_lets_go():
    """What was held goes on."""
    process, leash = sleeper(), Leash()
    leash.hold(process.pid)
    leash.drop()
    time.sleep(0.2)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_killed_holder_pulls():
    """kill -9 of the program kills what it held."""
    process = sleeper()
    program = f"import time; from datagen.engines.leash import Leash; Leash().hold({process.pid}); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    time.sleep(1.5)
    assert process.poll() is None
    holder.kill()
    holder.wait()
    assert process.wait(10) == -signal.SIGKILL


def test_output_is_captured_from_processes_too(capfd: pytest.CaptureFixture[str]):
    """What a process started meanwhile prints, even later, goes to the log; afterwards our own output is ours again."""
    with tempfile.TemporaryFile() as log:
        with captured(log):
            late = subprocess.Popen(["/bin/sh", "-c", "echo out; echo err >&2; sleep 0.3; echo late"])
        os.write(1, b"ours\n")
        late.wait()
        assert sorted(printed(log).split()) == ["err", "late", "out"]
    assert capfd.readouterr().out == "ours\n"


def test_without_a_log_output_goes_to_stderr(capfd: pytest.CaptureFixture[str]):
    """stdout is for results."""
    with captured(None):
        subprocess.run(["/bin/sh", "-c", "echo chatter"], check=True)
    assert capfd.readouterr() == ("", "chatter\n")


def test_processes_inherit_deafness_to_ctrl_c():
    """A process started meanwhile survives SIGINT; this thread hears it again afterwards."""
    with without_sigint():
        process = subprocess.Popen(["/bin/sleep", "60"])
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


async def test_a_thread_hands_over_its_result_or_error():
    """As a future of this loop."""
    assert await in_thread(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_nobody_waits_for_a_cancelled_thread():
    """It is a daemon, and its late result harms nothing."""
    go_on = threading.Event()
    future = in_thread(go_on.wait)
    future.cancel()
    go_on.set()
    await asyncio.sleep(0.1)
    assert future.cancelled()


def test_an_answer_that_is_begun_is_gone_on_with():
    """A last turn of the assistant's stays open: the prompt ends with its very text, no mark of an end behind it."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(resource("data/demo-model")))
    begun = Request((Message("user", "Hi"), Message("assistant", "def f(values):")))
    chat = open_chat(tokenizer, "", "demo-model")
    assert tokenizer.decode(chat.encode(begun)[0]).endswith("def f(values):")
    assert not tokenizer.decode(chat.encode(ASK)[0]).endswith("Hi")
