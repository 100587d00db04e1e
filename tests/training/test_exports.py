"""Configs for axolotl and LLaMA-Factory: equivalent values under their names, and honest comments where they differ."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datagen.config import FinetuneConfig
from datagen.errors import InputError, UsageError
from datagen.models import Message
from datagen.training.encode import Example
from datagen.training.exports import axolotl, chats, export_config, llama_factory
from datagen.training.presets import load_preset, shipped_presets
from datagen.training.rows import Pair

ROWS = [
    {"messages": [{"role": "user", "content": "Wörter?"}, {"role": "assistant", "content": "ja\n"}], "id": "a"},
    {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}], "id": "b"},
]
BASE = {"model": "codellama/CodeLlama-7b-hf"}


def both(config: FinetuneConfig) -> tuple[dict, dict]:
    return yaml.safe_load(axolotl(config)), yaml.safe_load(llama_factory(config))


@pytest.mark.parametrize("name", shipped_presets())
def test_every_preset_exports_to_both(name):
    """Every preset gives YAML with the same model, length, rate, epochs and sequences a step for both trainers."""
    config = load_preset(name, BASE)
    ours, theirs = both(config)
    batch = config.batch_tokens // config.length or config.batch
    assert (ours["base_model"], theirs["model_name_or_path"]) == (config.model, config.model)
    assert ours["sequence_len"] == theirs["cutoff_len"] == config.length
    assert ours["learning_rate"] == theirs["learning_rate"] == config.learning_rate
    assert ours["num_epochs"] == theirs["num_train_epochs"] == config.epochs
    assert ours["micro_batch_size"] * ours["gradient_accumulation_steps"] == batch
    assert theirs["per_device_train_batch_size"] * theirs["gradient_accumulation_steps"] == batch
    assert theirs["finetuning_type"] == "full" and "adapter" not in ours


@given(st.floats(min_value=0, max_value=1))
def test_rates_stay_numbers(rate):
    """A rate of any size is read from the YAML as the number it was."""
    ours, theirs = both(FinetuneConfig(model="a/b", learning_rate=rate))
    assert ours["learning_rate"] == theirs["learning_rate"] == rate


def test_schedule_keeps_its_meaning():
    """Cosine to a share of the peak and a warm-up given as a share or as steps have each trainer's own names."""
    ours, theirs = both(load_preset("code-llama-instruct", BASE))
    assert (ours["lr_scheduler"], ours["cosine_min_lr_ratio"]) == ("cosine", pytest.approx(1 / 30))
    assert theirs["lr_scheduler_type"] == "cosine_with_min_lr"
    assert theirs["lr_scheduler_kwargs"] == {"min_lr_rate": pytest.approx(1 / 30)}
    assert ours["warmup_ratio"] == theirs["warmup_ratio"] == 0.1
    ours, theirs = both(load_preset("wavecoder", BASE))
    assert ours["warmup_steps"] == theirs["warmup_steps"] == 15
    assert ours["optimizer"] == theirs["optim"] == "adafactor"


def test_what_is_learnt_stays_the_same():
    """Completion-only loss trains the assistant's turns alone; loss on all trains every turn."""
    ours, theirs = both(FinetuneConfig(model="a/b"))
    assert ours["datasets"][0]["roles_to_train"] == ["assistant"] and not ours["train_on_inputs"]
    assert theirs["train_on_prompt"] is False
    ours, theirs = both(FinetuneConfig(model="a/b", loss="all"))
    assert ours["train_on_inputs"] and theirs["train_on_prompt"]


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("llama-factory", {}, "longer rows are cut there, which breaks their code; dropped here"),
        ("axolotl", {}, "weights and optimizer are bfloat16 there"),
        ("axolotl", {"optimizer": "muon"}, "one rate for all weights there; here matrices have 0.02"),
        ("llama-factory", {"distributed": "fsdp2"}, "accelerate launch --config_file"),
        ("llama-factory", {"distributed": "zero3"}, "FORCE_TORCHRUN=1 llamafactory-cli train"),
    ],
)
def test_what_differs_is_said(kind, settings, said, tmp_path):
    """An option with another meaning there has a comment in the file that says what it does."""
    path = export_config(kind, FinetuneConfig(model="a/b", **settings), ROWS, tmp_path)
    assert said in path.read_text()


@pytest.mark.parametrize("kind", ["axolotl", "llama-factory"])
def test_rows_lie_beside_the_config(kind, tmp_path):
    """The rows are written as messages, one a line, and the config names files that are there."""
    path = export_config(kind, load_preset("phind", BASE), ROWS, tmp_path / "out")
    config = yaml.safe_load(path.read_text())
    lines = (path.parent / "messages.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"messages": row["messages"]} for row in ROWS]
    assert json.loads((path.parent / config["deepspeed"]).read_text())["zero_optimization"]["stage"] == 3
    if kind == "llama-factory":
        described = json.loads((path.parent / "dataset_info.json").read_text())[config["dataset"]]
        assert (path.parent / described["file_name"]).is_file()
    else:
        assert (path.parent / config["datasets"][0]["path"]).is_file()


def test_own_chat_template_goes_along(tmp_path):
    """A chat template of one's own stands in axolotl's config whole; a missing file is named."""
    template = tmp_path / "own.jinja"
    template.write_text('{% for m in messages %}"{{ m.content }}"\n{% endfor %}')
    config = yaml.safe_load(axolotl(FinetuneConfig(model="a/b", chat_template=str(template))))
    assert (config["chat_template"], config["chat_template_jinja"]) == ("jinja", template.read_text())
    with pytest.raises(InputError, match="Check --chat-template"):
        axolotl(FinetuneConfig(model="a/b", chat_template=str(tmp_path / "none.jinja")))


def test_what_cannot_be_exported_is_refused(tmp_path):
    """An unknown trainer names the known ones; a row without messages is named."""
    with pytest.raises(UsageError, match="axolotl, llama-factory"):
        export_config("unsloth", FinetuneConfig(model="a/b"), ROWS, tmp_path)
    with pytest.raises(InputError, match="row 1 has no messages"):
        export_config("axolotl", FinetuneConfig(model="a/b"), [ROWS[0], {"text": "x"}], tmp_path)


def test_rows_that_were_dropped_are_not_exported():
    """Only pairs that became examples are rows, as the messages that a trainer reads; text alone stays text."""
    pairs = [Pair("a", (Message("user", "q"),), "r"), Pair("b", (Message("user", "long"),), "x"), Pair("c", (), "t")]
    examples = [Example("a", (1, 2), 1), Example("c", (3,), 0)]
    asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    assert chats(pairs, examples) == [{"messages": asked}, {"text": "t"}]


def test_a_local_model_is_found_from_the_configs_folder(tiny, monkeypatch):
    """A model given as a relative folder stands in the config with its whole path: the trainer is started elsewhere."""
    monkeypatch.chdir(tiny.parent)
    ours, theirs = both(FinetuneConfig(model=tiny.name))
    assert ours["base_model"] == theirs["model_name_or_path"] == str(tiny)


EVERY = [
    *(load_preset(name, BASE) for name in shipped_presets()),
    *(FinetuneConfig(model="a/b", distributed=how, processes=2) for how in ("ddp", "fsdp2", "zero3-offload")),
    *(FinetuneConfig(model="a/b", optimizer=name) for name in ("adamw", "adamw-8bit", "adafactor", "muon")),
    *(FinetuneConfig(model="a/b", attention=name) for name in ("sdpa", "eager", "kernels-community/flash-attn2")),
    *(FinetuneConfig(model="a/b", report_to=name) for name in ("tensorboard", "trackio", "wandb")),
    FinetuneConfig(model="a/b", precision="float32", packing="off", loss="all", max_steps=5, warm_up=10, revision="v1"),
    FinetuneConfig(
        model="a/b", precision="bfloat16", schedule="constant", activation_checkpointing="off", save_steps=7
    ),
]
"""Every preset, and every setting that an export writes in its own way."""


def test_axolotl_reads_every_config():
    """axolotl's own validation takes each config, as of a GPU, and knows every key."""
    schemas = pytest.importorskip("axolotl.utils.schemas.config", reason="needs axolotl")
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    gpu = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 8, "compute_capability": "sm_90"}
    for written in (yaml.safe_load(axolotl(config)) for config in EVERY):
        assert written.keys() <= schemas.AxolotlInputConfig.model_fields.keys()
        validate_config(DictDefault(written), capabilities=gpu, env_capabilities={"torch_version": "2.8.0"})


def test_llama_factory_reads_every_config(tmp_path, monkeypatch):
    """LLaMA-Factory's parser takes each config, but for what wants a GPU, leaves no key over and finds the rows."""
    pytest.importorskip("llamafactory", reason="needs LLaMA-Factory")
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import get_train_args

    monkeypatch.chdir(tmp_path)
    here = {"use_cpu": True, "deepspeed": None, "pure_bf16": False}
    for config in EVERY:
        written = yaml.safe_load(export_config("llama-factory", replace(config, warm_up=3), ROWS, tmp_path).read_text())
        _, data, training, tuning, _ = get_train_args(written | here)
        assert (training.warmup_steps, tuning.finetuning_type, data.cutoff_len) == (
            3,
            "full",
            config.length - bool(data.packing),
        )
        (rows,) = get_dataset_list(data.dataset, data.dataset_dir)
        assert (rows.dataset_name, rows.formatting, rows.user_tag) == ("messages.jsonl", "sharegpt", "user")
