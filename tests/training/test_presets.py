"""Presets: what each fixes, which of its values are published, and what overrides them."""

from __future__ import annotations

import re

import pytest

from datagen.config import FinetuneConfig
from datagen.errors import UsageError
from datagen.training.presets import SHIPPED, load_preset, shipped_presets

PUBLISHED = {
    "code-llama-instruct": {
        "batch_tokens": 524288, "optimizer": "adamw", "beta1": 0.9, "beta2": 0.95, "schedule": "cosine",
        "final_share": pytest.approx(1 / 30),
    },
    "phind": {"length": 4096, "epochs": 2, "attention": "auto", "distributed": "zero3"},
    "wavecoder": {
        "loss": "completion", "length": 2048, "packing": "off", "epochs": 3, "batch": 512, "micro_batch": 4,
        "optimizer": "adafactor", "weight_decay": 0.0, "max_grad_norm": 1.0, "learning_rate": 5e-5,
        "schedule": "linear", "warm_up": 15, "precision": "mixed", "activation_checkpointing": "on",
        "attention": "auto", "distributed": "auto",
    },
    "selfcodealign": {
        "loss": "completion", "length": 1280, "packing": "off", "epochs": 4, "batch": 64, "optimizer": "adafactor",
        "learning_rate": 1e-5, "schedule": "linear", "warm_up": 0.05,
    },
    "magicoder": {
        "loss": "completion", "length": 1216, "packing": "off", "epochs": 2, "batch": 512, "micro_batch": 2,
        "optimizer": "adafactor", "weight_decay": 0.0, "max_grad_norm": 0.0, "learning_rate": 5e-5,
        "schedule": "linear", "warm_up": 15, "precision": "mixed", "attention": "auto",
    },
    "demo": {},
}  # fmt: skip


def lines(name: str) -> list[str]:
    return (SHIPPED / f"{name}.toml").read_text(encoding="utf-8").splitlines()


def test_every_recipe_that_is_followed_has_a_preset():
    """The shipped presets are the five published fine-tunes and the demo's."""
    assert shipped_presets() == tuple(sorted(PUBLISHED))


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_not_marked_ours_are_the_published_ones(name):
    """A preset's values without "# ours" are exactly those that the fine-tune's authors published."""
    unmarked = {found[1] for line in lines(name) if (found := re.match(r"(\w+) = (?!.*# ours)", line))}
    config = load_preset(name, {})
    assert {key: getattr(config, key) for key in unmarked} == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_begins_with_its_command(name):
    """The first line of a preset is the command that runs it, with a model."""
    assert re.match(rf"# datagen finetune \S+ --model \S+ --preset {name}\b", lines(name)[0])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "demo"])
def test_batch_can_be_shared_by_eight_gpus(name):
    """A step's sequences can be shared evenly by 1, 2, 4 and 8 devices."""
    config = load_preset(name, {})
    batch = config.batch_tokens // config.length or config.batch
    assert all(batch % (config.micro_batch * devices) == 0 for devices in (1, 2, 4, 8))


def test_flag_overrides_preset_overrides_default():
    """default < preset < flag; a flag that was not given (None) overrides nothing."""
    config = load_preset("phind", {"epochs": 5, "length": None, "model": "org/base"})
    assert (config.epochs, config.length, config.model) == (5, 4096, "org/base")
    assert config.keep_checkpoints == FinetuneConfig().keep_checkpoints


def test_no_preset_is_the_defaults():
    """Without a preset only flags change the defaults."""
    assert load_preset("", {"epochs": 3}) == FinetuneConfig(epochs=3)


def test_unknown_preset_names_the_known_ones():
    """An unknown name is a UsageError with the known names, and says that a file works."""
    with pytest.raises(UsageError, match=r"Known: code-llama-instruct, .*wavecoder; or give the path"):
        load_preset("vicuna", {})


def test_a_file_of_ones_own(tmp_path):
    """A path is a preset too; an unknown key or table is named with the nearest one, a value for the table refused."""
    own = tmp_path / "mine.toml"
    own.write_text("[finetune]\nepochs = 7\n")
    assert load_preset(str(own), {}).epochs == 7
    own.write_text("[finetune]\nepoch = 7\n")
    with pytest.raises(UsageError, match="Did you mean epochs"):
        load_preset(str(own), {})
    own.write_text("[training]\nepochs = 7\n")
    with pytest.raises(UsageError, match="unknown key 'training'"):
        load_preset(str(own), {})
    own.write_text("finetune = 7\n")
    with pytest.raises(UsageError, match=r"finetune = 7 is no table. Write \[finetune\]"):
        load_preset(str(own), {})
