"""`datagen finetune` from the command line to the folder it leaves."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from datagen.cli import main
from datagen.errors import InputError, MissingDependency, SettingsChanged, StorageError, TrainingFailed, UsageError
from datagen.evaluation.style import has_template
from datagen.licenses import training_conflict
from datagen.training.check import check_saved
from datagen.training.encode import encode_all, open_encoder
from datagen.training.estimate import size_of
from datagen.training.rows import read_source

PRESET = """[finetune]
length = 64
packing = "off"
batch = 4
learning_rate = 1e-3
precision = "float32"
threads = 1
"""


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A preset for the tiny model."""
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture(scope="session")
def command(tiny, table, preset):
    """The command line for the tiny model: command(out, *more flags)."""

    def line(out, *more, rows=table):
        return ["finetune", str(rows), "--model", str(tiny), "--preset", str(preset), "--out", str(out), *more]

    return line


def changed(model, folder, **tokens):
    """A copy of the model in a folder, whose tokenizer has other special tokens."""
    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({name: token for name, token in tokens.items() if token})
    for name in (name for name, token in tokens.items() if not token):
        setattr(tokenizer, name, None)
    tokenizer.save_pretrained(folder)
    return folder


def steps(folder):
    lines = (folder / "training" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def tuned(command, tmp_path_factory):
    """The folder of a finished fine-tune."""
    out = tmp_path_factory.mktemp("tuned") / "model"
    assert main(command(out, "--epochs", "1")) == 0
    return out


def test_a_dry_run_shows_a_row_with_its_mask_and_writes_nothing(command, tmp_path, capsys):
    """What is learnt is marked, dropped rows and costs are counted, and no folder appears."""
    assert main(command(tmp_path / "out", "--length", "40", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "⟦" in shown
    assert "<|end|>⟧" in shown
    assert "over-length" in shown
    assert "GiB a device" in shown
    assert not (tmp_path / "out").exists()


def test_a_preset_too_large_for_the_rows_is_said(command, tmp_path, capsys):
    """Before anything is spent: the last step is filled up, and most steps are warm-up."""
    assert main(command(tmp_path / "out", "--batch", "64", "--warm-up", "15", "--epochs", "9", "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "3 of 4 steps are warm-up" in shown
    assert "256 sequences are read where --epochs 9 are 198" in shown
    assert main(command(tmp_path / "out", "--dry-run")) == 0
    assert "note: " not in capsys.readouterr().out


def test_a_saved_model_that_is_not_whole_is_saved_again_by_the_next_call(tuned, command, tmp_path, capsys):
    """A torn file is an error, and the same command again goes on from the last checkpoint to the same model."""
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    (out / "report.json").unlink()
    model = out / "model" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    assert main(command(out, "--epochs", "1")) == StorageError.exit_code
    assert "Run the same command again" in capsys.readouterr().err
    assert main(command(out, "--epochs", "1")) == 0
    assert model.read_bytes() == (tuned / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_run_that_diverged_says_what_to_do(command, tmp_path, capsys, precision):
    """Weights that are no numbers are named as such, in every precision, with the flags that help."""
    wild = ["--learning-rate", "1e30", "--precision", precision]
    assert main(command(tmp_path / "out", *wild)) == TrainingFailed.exit_code
    assert "Lower --learning-rate, with another --out" in capsys.readouterr().err
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model" / "model.safetensors")  # tied, so written once


def test_the_answer_of_the_report_is_one_to_the_first_row(command, tiny, table, tmp_path):
    """Also where the prompt is learnt: the model is asked with it, not with nothing."""
    out = tmp_path / "out"
    assert main(command(out, "--loss", "all", "--max-steps", "1")) == 0
    row = open_encoder(tiny, "", everything=False).encode(read_source(str(table)).pairs[0])
    told = check_saved(out / "model", size_of(tiny).parameters, row.tokens[: row.start]).answer
    assert json.loads((out / "report.json").read_text())["answer"] == told


def test_a_tokenizer_that_names_no_end_trains(command, tiny, tmp_path):
    """The model's config.json names the end: text is learnt with it, and the saved model is asked."""
    model, rows = changed(tiny, tmp_path / "base", eos_token=None), tmp_path / "rows.jsonl"
    rows.write_text('{"text": "x = 1"}\n' * 8)
    assert main(command(tmp_path / "out", "--model", str(model), "--loss", "all", "--max-steps", "1", rows=rows)) == 0


def test_a_padding_token_without_an_embedding_is_not_taken(command, tiny, tmp_path):
    """A tokenizer with one token more than the model: another one fills up batches, and the saved model loads."""
    model = changed(tiny, tmp_path / "base", pad_token="[PAD]")
    assert main(command(tmp_path / "out", "--model", str(model), "--max-steps", "1")) == 0


def test_a_row_with_a_token_without_an_embedding_is_refused(command, tiny, tmp_path, capsys):
    """It would be an IndexError in the first step that reads it; the row and the token are named instead."""
    model, rows = changed(tiny, tmp_path / "base", pad_token="[PAD]"), tmp_path / "rows.jsonl"
    rows.write_text('{"id": "r7", "question": "[PAD]", "solution": "x"}\n')
    code = main(command(tmp_path / "out", "--model", str(model), "--dry-run", rows=rows))
    assert code == InputError.exit_code
    assert "row r7 has the token 1,600, but the model has 1,600 embeddings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "written",
    ['{"model_type": "nope"}', '{"model_type": "t5"}', "[]", None, "{", '{"model_type": "gpt2", "n_embd": "x"}'],
)
def test_a_folder_without_a_model_to_train_is_one_line(command, tiny, tmp_path, capsys, written):
    """A config.json of no causal language model, or none: an error that names the folder, in a dry run too."""
    model = tmp_path / "base"
    shutil.copytree(tiny, model)
    (model / "config.json").unlink()
    if written:
        (model / "config.json").write_text(written)
    assert main(command(tmp_path / "out", "--model", str(model), "--dry-run")) == InputError.exit_code
    assert f"{model}: its config.json describes no model to train" in capsys.readouterr().err


def test_rows_longer_than_a_table_of_positions_are_refused(command, tiny, tmp_path, capsys):
    """GPT-2 has no position after its last: the length that fits is named, and with it training starts."""
    model = tmp_path / "base"
    config = GPT2Config(vocab_size=1600, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(model)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(model)
    assert main(command(tmp_path / "out", "--model", str(model), "--dry-run")) == InputError.exit_code
    assert "Give --length 32" in capsys.readouterr().err
    assert main(command(tmp_path / "out", "--model", str(model), "--length", "32", "--max-steps", "1")) == 0


def test_rows_longer_than_the_model_was_made_for_are_said(command, tiny, tmp_path, capsys):
    """Rotary positions go on, so longer rows are trained on, with a note."""
    model = tmp_path / "base"
    shutil.copytree(tiny, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32}))
    assert main(command(tmp_path / "out", "--model", str(model), "--dry-run")) == 0
    assert "note: the longest row has 42 tokens, the model was made for 32" in capsys.readouterr().out


def test_a_template_that_cannot_be_computed_is_one_line(command, tmp_path, capsys):
    """A mistake in a template of the user's, such as 1 + "a", names the flag."""
    template = tmp_path / "wrong.jinja"
    template.write_text("{{ 1 + 'a' }}")
    assert main(command(tmp_path / "out", "--chat-template", str(template), "--dry-run")) == UsageError.exit_code
    assert "Give --chat-template" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_reporter_without_its_package_is_said_before_training(command, tmp_path, capsys, name):
    """--report-to needs a package of its own: its absence ends a dry run too, with what to type."""
    if find_spec(name) or find_spec(f"{name}X"):
        pytest.skip(f"{name} is installed")
    assert main(command(tmp_path / "out", "--report-to", name, "--dry-run")) == MissingDependency.exit_code
    assert f"pip install {name}" in capsys.readouterr().err


def test_a_small_set_is_trained_on_with_a_long_warm_up(command, tiny, tmp_path):
    """One step in all, with a warm-up of fifteen: the weights are not those of the base model."""
    assert main(command(tmp_path / "out", "--batch", "64", "--warm-up", "15", "--epochs", "1")) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, tmp_path / "out" / "model"))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_finished_folder_holds_model_card_report_and_settings(tuned):
    """The model loads from its folder; the report counts rows, steps and tokens; the settings re-run as they stand."""
    report = json.loads((tuned / "report.json").read_text())
    assert (report["rows"], report["steps"]) == (22, 6)
    assert report["tokens"] > 0
    assert (tuned / "model" / "model.safetensors").is_file()
    assert "22" in (tuned / "model" / "README.md").read_text()
    assert "[finetune]" in (tuned / "finetune.toml").read_text()
    assert len(steps(tuned)) == 6


def test_the_written_settings_are_a_preset_that_trains_the_same(tuned, table, tmp_path):
    """--preset models/X/finetune.toml gives the same weights, bit for bit."""
    again = tmp_path / "again"
    assert main(["finetune", str(table), "--preset", str(tuned / "finetune.toml"), "--out", str(again)]) == 0
    name = "model/model.safetensors"
    assert (again / name).read_bytes() == (tuned / name).read_bytes()


def test_the_same_command_again_does_nothing(tuned, command, capsys):
    """A finished fine-tune is said to be finished."""
    before = (tuned / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(command(tuned, "--epochs", "1")) == 0
    assert "is finished" in capsys.readouterr().err
    assert (tuned / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_changed_settings_are_refused_by_name(tuned, command, capsys):
    """Another learning rate in the same folder is an error that names it and both values."""
    assert main(command(tuned, "--epochs", "1", "--learning-rate", "0.01")) == SettingsChanged.exit_code
    assert "learning_rate 0.001 -> 0.01" in capsys.readouterr().err


def test_other_rows_are_refused(tuned, command, tmp_path, capsys):
    """A folder that was begun on one table does not go on with another."""
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "q", "solution": "x"}\n')
    assert main(command(tuned, "--epochs", "1", rows=other)) == SettingsChanged.exit_code
    assert "rows" in capsys.readouterr().err


def test_rehearsal_is_mixed_in_and_counted(command, tiny, table, tmp_path, capsys):
    """A tenth of the tokens comes from the other table, rounded to whole rows."""
    text = tmp_path / "code.jsonl"
    text.write_text("".join(json.dumps({"text": f"x = {n}\n"}) + "\n" for n in range(200)))
    assert main(command(tmp_path / "out", "--rehearsal", f"{text}=0.1", "--dry-run")) == 0
    encoder = open_encoder(tiny, "", everything=False)
    own = encode_all(read_source(str(table)).pairs, encoder, 64).tokens
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("rehearsal"))
    mixed = int(line.split(" rows, ")[1].split()[0].replace(",", ""))
    assert 0.08 < mixed / (mixed + own) < 0.12


def test_rehearsal_rows_that_do_not_fit_are_counted_and_said(command, tmp_path, capsys):
    """Rows over the length cannot be drawn: their number and the tokens that are missing stand in the preflight."""
    text, out = tmp_path / "long.jsonl", tmp_path / "out"
    text.write_text("".join(json.dumps({"text": f"x = {n}\n" * 60}) + "\n" for n in range(20)))
    assert main(command(out, "--rehearsal", f"{text}=0.1", "--max-steps", "1")) == 0
    shown = capsys.readouterr().err
    assert "rehearsal dropped" in shown
    assert "over-length 20" in shown
    assert f"note: rehearsal {text} gives 0 of the " in shown
    assert json.loads((out / "report.json").read_text())["rehearsal_dropped"] == {"over-length": 20}


def test_an_export_trains_as_many_rows_with_as_long_a_warm_up(command, tmp_path):
    """--export trains nothing, writes every row that would be trained, and a warm-up by a share in steps."""
    assert main(command(tmp_path / "out", "--export", "llama-factory", "--warm-up", "0.25")) == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert "\nwarmup_steps: 3\n" in (folder / "llama-factory.yaml").read_text()
    assert len((folder / "messages.jsonl").read_text().splitlines()) == 22


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (["--model", "nowhere/at-all-x/y"], None, "no model on the Hub"),
        (["--preset", "nothing"], UsageError, "code-llama-instruct"),
        (["--batch", "3", "--micro-batch", "2"], UsageError, "--batch 2"),
        (["--length", "8"], InputError, "no row is left"),
        (["--form", "solver"], InputError, "shown_test"),
        (["--optimizer", "adamw-8bit"], MissingDependency, "bitsandbytes"),
    ],
    ids=["model", "preset", "batch", "length", "form", "optimizer"],
)
def test_a_mistake_is_one_line_that_says_what_to_do(command, tmp_path, capsys, change, error, words):
    """Each wrong flag ends with its exit code, one line on stderr, and no traceback."""
    code = main([*command(tmp_path / "out"), *change])
    told = capsys.readouterr().err
    assert code == error.exit_code if error else code > 0
    assert words in told
    assert "Traceback" not in told


def test_a_given_template_is_saved_with_the_model(command, tmp_path):
    """A model that learnt a format brings it: the next engine that loads it asks in that format."""
    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert main(command(tmp_path / "out", "--chat-template", str(template), "--max-steps", "1")) == 0
    saved = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    assert saved.chat_template == template.read_text()


def test_a_model_that_learnt_plain_text_is_saved_without_a_template(command, tmp_path):
    """`--chat-template none`: engines and evaluations do not ask in a chat what was never trained in one."""
    assert main(command(tmp_path / "out", "--chat-template", "none", "--max-steps", "1")) == 0
    assert not has_template(tmp_path / "out" / "model")


def test_no_model_is_an_error_that_says_so(table, capsys):
    """There is no default base model to spend days on by accident."""
    assert main(["finetune", str(table)]) == UsageError.exit_code
    assert "--model" in capsys.readouterr().err


def test_rows_of_a_model_whose_licence_forbids_it_are_warned_about(command, tmp_path, capsys):
    """Code Llama's outputs may not improve another family of models: the clause is named before anything is spent."""
    path = tmp_path / "rows.jsonl"
    row = {"question": "q", "solution": "x", "model": "codellama/CodeLlama-7b-Instruct-hf"}
    path.write_text(json.dumps(row) + "\n")
    assert main(command(tmp_path / "out", "--dry-run", rows=path)) == 0
    assert "1.b.v" in capsys.readouterr().out
    assert training_conflict("codellama/CodeLlama-7b-hf", "codellama/CodeLlama-7b-Python-hf") == ""


@pytest.mark.slow
def test_two_processes_train_as_one_does(command, tmp_path):
    """ddp over gloo: the losses of every step, and the weights, equal those of a single process up to rounding."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(one)) == 0
    assert main(command(two, "--distributed", "ddp", "--processes", "2")) == 0
    alone, shared = steps(one), steps(two)
    assert len(alone) == len(shared) == 11
    for line, other in zip(alone, shared, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-4)
        assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-3)
    assert json.loads((two / "report.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_zero3_trains_as_one_process_does(command, tmp_path, monkeypatch):
    """DeepSpeed's ZeRO-3 over gloo: split weights train to the losses of one process and are saved whole."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    pytest.importorskip("deepspeed", reason="needs DeepSpeed")
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(one, "--max-steps", "4")) == 0
    assert main(command(two, "--max-steps", "4", "--distributed", "zero3", "--processes", "2")) == 0
    assert [line["loss"] for line in steps(two)] == pytest.approx([line["loss"] for line in steps(one)], rel=1e-4)
    parts = (two / "training/checkpoints/checkpoint-4/global_step4").glob("zero_pp_rank_*_optim_states.pt")
    assert len(list(parts)) == 2
