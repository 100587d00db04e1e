"""Gets a model's files from the Hub before vLLM is started, so that progress bars and errors are the Hub's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datagen.errors import EngineUnavailable

_AROUND = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py"]
_TWICE = ["consolidated*", "original/*", "onnx/*", "gguf/*"]  # the same weights again, in formats for other programs


def fetch(model: str, revision: str = "", *, download: Callable[..., str] | None = None) -> str:
    """The folder that holds the model: `model` itself where it is one, else the Hub's snapshot of `revision`.

    Fetches what is missing: safetensors, or PyTorch's own format where there are none. EngineUnavailable says in one
    line why a model cannot be had. `download` is huggingface_hub.snapshot_download, or what stands in for it.
    """
    if Path(model).is_dir():
        return model
    if model.startswith(("/", ".", "~")):
        raise EngineUnavailable("there is no such folder", where=model, hint="Give --model a folder or a Hub id")
    from huggingface_hub import errors, snapshot_download

    get = download or snapshot_download
    try:
        for weights in (["*.safetensors"], ["*.bin", "*.pt"]):
            patterns = [*_AROUND, *weights]
            folder = get(model, revision=revision or None, allow_patterns=patterns, ignore_patterns=_TWICE)
            if any(Path(folder).glob("*.safetensors")):
                break
    except (OSError, errors.HFValidationError) as error:
        raise _explained(error, model, revision) from error
    return str(folder)


def _explained(error: Exception, model: str, revision: str) -> EngineUnavailable:
    """The Hub's error, in the user's terms."""
    from huggingface_hub import errors

    what, hint = f"cannot be downloaded ({error})", "Run the same command again: what was fetched is kept"
    if isinstance(error, errors.GatedRepoError):
        what, hint = "is gated", f"Accept its terms at https://huggingface.co/{model}, then `hf auth login`"
    elif isinstance(error, errors.RevisionNotFoundError):
        what, hint = f"has no revision {revision}", "Correct --revision"
    elif isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        what, hint = "is no model on the Hub, nor a folder", "Correct --model; if it is private, `hf auth login` first"
    elif isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        what = "is not on this machine, and the Hub cannot be reached"
        hint = "Download it where there is a network (hf download), or give --model a folder"
    return EngineUnavailable(what, where=model, hint=hint)
