"""A saved model, looked at: it loads with every weight it should have, and it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.errors import StorageError, TrainingFailed

ANSWER_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Saved:
    """Weights of the saved model, and what it answers to the first row's prompt."""

    parameters: int
    answer: str


def check_saved(folder: Path, parameters: int, prompt: Sequence[int], *, trust: bool = False) -> Saved:
    """Loads the model and asks it once; StorageError if weights are missing or too many, TrainingFailed if not finite.

    `prompt` holds at least one token.
    ZeRO-3 saved under a wrong setting leaves files of kilobytes that load without a word: counting finds that.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, trust_remote_code=trust, dtype="auto"
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _broken(folder, str(error).splitlines()[0]) from error
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if wrong:
        raise _broken(folder, f"{len(wrong)} weights are missing or strange, like {wrong[0]}")
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        hint = "Lower --learning-rate, with another --out"
        raise TrainingFailed("the training diverged: some weights are not finite", where=str(folder), hint=hint)
    if model.num_parameters() != parameters:
        raise _broken(folder, f"{model.num_parameters():,} weights instead of {parameters:,}")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    ids = torch.tensor([list(prompt)])
    # A table of positions has no room for more.
    room = (getattr(model.config, "max_position_embeddings", None) or 0) - len(prompt)
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
            max_new_tokens=min(room, ANSWER_TOKENS) if room > 0 else ANSWER_TOKENS,
        )  # fmt: skip
    return Saved(parameters, tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


def _broken(folder: Path, why: str) -> StorageError:
    hint = "Run the same command again: it starts from the last checkpoint"
    return StorageError(f"the saved model is not whole ({why})", where=str(folder), hint=hint)
