"""Says in one line why vLLM did not start or died, from whatever it and its processes printed."""

from __future__ import annotations

import re

from datagen.errors import DatagenError, EngineUnavailable, MissingDependency

_INSTALL = "pip install 'datagen[vllm]' for a GPU, 'datagen[cpu]' without one; or use --engine server"
_ROOM = "Lower --gpu-memory-utilization or --max-model-len, or free memory that other programs hold"
_VERBOSE = "VLLM_LOGGING_LEVEL=INFO shows all that vLLM prints"

_EXPLANATIONS: tuple[tuple[str, type[DatagenError], str, str], ...] = (
    (
        r"operator torchvision::|torch(vision|audio|codec)[/.]",
        MissingDependency,
        "torchvision, torchaudio or torchcodec was built for another torch, which breaks `import transformers`",
        "Text models need none of them: pip uninstall torchvision torchaudio torchcodec",
    ),
    (r"No module named '?vllm['.]?", MissingDependency, "vLLM is not installed", _INSTALL),
    (r"No module named '?torch['.]?", MissingDependency, "PyTorch is not installed", _INSTALL),
    (
        r"libcuda\.so|NVIDIA driver|No CUDA GPUs|Failed to infer device type|no accelerator|CUDA_ERROR_NO_DEVICE",
        EngineUnavailable,
        "this vLLM needs a GPU and finds none",
        "Without a GPU: pip uninstall vllm, then pip install 'datagen[cpu]'; or use --engine server",
    ),
    (
        r"KV cache is needed|No available memory for the cache blocks|larger than the available KV cache",
        EngineUnavailable,
        "the memory left beside the model does not hold one context",
        "Lower --max-model-len, or raise --gpu-memory-utilization",
    ),
    (
        r"(?i)out of memory|is less than desired (GPU|CPU)|MemoryError|cannot allocate memory|Available memory on node",
        EngineUnavailable,
        "not enough memory for the model",
        _ROOM,
    ),
    (
        r"contains custom code|execute the (configuration|modeling) file",
        EngineUnavailable,
        "the model's repository brings code of its own",
        "Read it; if you trust it, give --trust-remote-code",
    ),
    (
        r"(?i)bootstrapping phase|freeze_support",
        EngineUnavailable,
        "the calling script starts its engine again when it is imported",
        'Put its start under `if __name__ == "__main__":`',
    ),
)

_RAISED = re.compile(r"^[^\n]*?\b((?:\w+\.)*[A-Z]\w*(?:Error|Exception)): (\S[^\n]*)", re.MULTILINE)
_INVALID = re.compile(r"validation errors? for \w+\n(?:(\w+)\S*\n)? +(?:Value error, )?([^\n\[]+)")
_SECOND_HAND = (
    "Engine core initialization failed",
    "Worker failed",
    "WorkerProc initialization failed",
    "EngineCore",
    "RuntimeError: cancelled",  # of what waited for a worker that died
)
_DIED = re.compile(r"Worker proc \S+ died unexpectedly")


def explain(text: str, model: str = "") -> DatagenError:
    """The error for what was printed: a known trap with its cure, else the first exception in it."""
    for pattern, kind, what, hint in _EXPLANATIONS:
        if re.search(pattern, text):
            return kind(what, where=model, hint=hint)
    return EngineUnavailable(f"vLLM failed: {root_cause(text)}", where=model, hint=_VERBOSE)


def root_cause(text: str) -> str:
    """The first exception that is not about another, at most 300 characters; without one, that a process died or the
    last line.
    """
    if invalid := _INVALID.search(text):
        return ": ".join(part.strip() for part in invalid.groups() if part)[:300]
    raised = [f"{kind}: {message}" for kind, message in _RAISED.findall(text)]
    first_hand = [line for line in raised if not any(words in line for words in _SECOND_HAND)]
    lines = first_hand or _DIED.findall(text) or raised or text.strip().splitlines()[-1:] or ["it gave no reason"]
    return lines[0][:300]
