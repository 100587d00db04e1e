"""Training itself, on a tiny model: what is learnt, packing, resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_kit import TINY, log, work

from datagen.codec import from_json
from datagen.errors import Interrupted, StorageError
from datagen.training.check import check_saved
from datagen.training.encode import encode_all, open_encoder
from datagen.training.estimate import memory, size_of
from datagen.training.plan import plan
from datagen.training.rows import read_source
from datagen.training.trainer import CHECKPOINTS, LOG, RESULT, Work, last_checkpoint, train


def weights(job):
    return load_file(Path(job.out) / "model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def quiet(_):
    pass


@pytest.fixture(scope="module")
def whole(tiny, table, tmp_path_factory):
    """The job, trained without a stop: 11 steps, two epochs of 22 rows."""
    job = work(tiny, table, tmp_path_factory.mktemp("whole") / "job")
    train(job, quiet)
    return job


def test_the_loss_falls(whole):
    """Eleven steps on 22 rows lower the loss, and every step is in the log."""
    lines = log(whole)
    assert [line["step"] for line in lines] == list(range(1, 12))
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_training_goes_on_bit_for_bit_past_the_first_epoch(whole, tmp_path):
    """From a checkpoint in the second epoch, torn later ones beside it, come the weights of a run without a stop."""
    folder = tmp_path / "job"
    shutil.copytree(Path(whole.folder), folder, ignore=shutil.ignore_patterns("model", "checkpoint-11"))
    for torn in ("checkpoint-9", "checkpoint-10"):
        shutil.copytree(folder / CHECKPOINTS / "checkpoint-8", folder / CHECKPOINTS / torn)
    (folder / CHECKPOINTS / "checkpoint-9" / "trainer_state.json").unlink()
    state = folder / CHECKPOINTS / "checkpoint-10" / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:-10])
    job = replace(whole, folder=str(folder), out=str(folder / "model"), data=str(folder / "data"))
    assert last_checkpoint(folder / CHECKPOINTS).name == "checkpoint-8"
    train(job, quiet)
    assert equal(weights(job), weights(whole))
    assert [line["step"] for line in log(job)] == list(range(1, 12))
    assert log(job) == log(whole)


@pytest.mark.parametrize("packing", ["on", "off"])
def test_tokens_and_losses_are_those_of_the_whole_run(tmp_path, tiny, table, packing):
    """Gone on with after a stop, or only saved once more, the result is that of a run without one."""
    job = work(tiny, table, tmp_path / "job", replace(TINY, packing=packing, micro_batch=1))
    train(job, quiet)
    result = Path(job.folder) / RESULT
    before = json.loads(result.read_text())
    assert before["tokens"] == log(job)[-1]["num_tokens"]
    assert before["losses"] == [log(job)[0]["loss"], log(job)[-1]["loss"]]
    train(job, quiet)
    assert json.loads(result.read_text()) == before
    shutil.rmtree(last_checkpoint(Path(job.folder) / CHECKPOINTS))
    assert last_checkpoint(Path(job.folder) / CHECKPOINTS)
    train(job, quiet)
    assert json.loads(result.read_text()) == before


def test_a_killed_process_goes_on_bit_for_bit(whole, tmp_path, tiny, table):
    """SIGKILL after the first checkpoint; the same job run again ends with the weights of one that was never killed."""
    job = work(tiny, table, tmp_path / "job")
    (tmp_path / "job.json").write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-m", "datagen.training.worker", str(tmp_path / "job.json")]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while process.poll() is None and last_checkpoint(Path(job.folder) / CHECKPOINTS) is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    train(job, quiet)
    assert equal(weights(job), weights(whole))


def test_a_signal_leaves_a_checkpoint_and_ends(tmp_path, tiny, table):
    """The first SIGINT ends training after its step with a checkpoint, and says how to go on."""
    job = work(tiny, table, tmp_path / "job")

    (tmp_path / "job.json").write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-m", "datagen.training.worker", str(tmp_path / "job.json")]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (Path(job.folder) / LOG).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode in (0, Interrupted.exit_code)
    if process.returncode:
        assert "Run the same command to go on" in told
        assert last_checkpoint(Path(job.folder) / CHECKPOINTS)


def test_packed_sequences_teach_what_single_rows_teach(tmp_path, tiny, table):
    """One step over all rows has the same loss and the same gradient norm, packed and not: no row sees another."""
    single = replace(TINY, max_steps=1, batch=22, micro_batch=1, save_steps=1)
    one = work(tiny, table, tmp_path / "single", single)
    encoder = open_encoder(tiny, "", everything=False)
    rows = encode_all(read_source(str(table)).pairs, encoder, 64).examples
    packs = plan(rows, replace(single, packing="on", batch=1, max_steps=0, epochs=1), 0, 1).sequences_per_epoch
    other = work(tiny, table, tmp_path / "packed", replace(single, packing="on", batch=packs))
    for job in (one, other):
        train(job, quiet)
    (alone,), (packed,) = log(one), log(other)
    assert packs < 22
    assert packed["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert packed["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-4)


def test_micro_batches_do_not_change_the_loss_of_a_step(tmp_path, tiny, table):
    """The loss is averaged over a step's tokens, however they are cut into micro-batches."""
    losses = []
    for size in (1, 4):
        config = replace(TINY, max_steps=1, micro_batch=size)
        job = work(tiny, table, tmp_path / str(size), config)
        train(job, quiet)
        losses.append(log(job)[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_muon_goes_on_from_its_own_state(tmp_path, tiny, table):
    """Both optimizers' states are in the checkpoint: training in two parts gives the weights of training in one."""
    config = replace(TINY, optimizer="muon", max_steps=6, save_steps=3, schedule="constant")
    one = work(tiny, table, tmp_path / "one", config)
    train(one, quiet)
    folder = tmp_path / "two"
    shutil.copytree(one.folder, folder, ignore=shutil.ignore_patterns("model", "checkpoint-6"))
    two = replace(one, folder=str(folder), out=str(folder / "model"))
    train(two, quiet)
    assert equal(weights(one), weights(two))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_other_optimizers_and_precisions_lower_the_loss(tmp_path, tiny, table, optimizer, precision):
    """Each pair trains and saves weights in bfloat16 that are all there."""
    config = replace(TINY, optimizer=optimizer, precision=precision, learning_rate=3e-3)
    job = work(tiny, table, tmp_path / "job", config)
    train(job, quiet)
    assert log(job)[-1]["loss"] < log(job)[0]["loss"]
    assert check_saved(Path(job.out), size_of(tiny).parameters, (1, 2)).parameters == size_of(tiny).parameters
    assert {value.dtype for value in weights(job).values()} == {torch.bfloat16}


def test_a_job_survives_its_file(whole):
    """A worker reads exactly the job that was written."""
    assert from_json(json.loads(json.dumps(asdict(whole))), Work) == whole


@pytest.mark.parametrize("fault", ["missing", "cut"])
def test_a_saved_model_that_is_not_whole_is_refused(whole, tmp_path, fault):
    """A weight that is gone, a file that ends early: each is one clear error."""
    folder = tmp_path / "model"
    shutil.copytree(whole.out, folder)
    file = folder / "model.safetensors"
    state = load_file(file)
    name = next(key for key in state if "mlp" in key)
    if fault == "missing":
        del state[name]
    save_file(state, file, metadata={"format": "pt"})
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(StorageError, match="not whole"):
        check_saved(folder, size_of(Path(whole.model)).parameters, (1,))


def test_a_full_seven_billion_model_needs_112_gigabytes():
    """Weights, gradients and Adam's states in float32 are 16 bytes a weight, before activations; ZeRO-3 splits them."""
    shape = {"hidden_size": 4096, "num_hidden_layers": 32}
    alone = memory(7_000_000_000, shape, replace(TINY, precision="mixed"), "single", 1, recomputed=True)
    held = (alone.weights + alone.gradients + alone.optimizer) * 2**30
    assert held == pytest.approx(112e9)
    split = memory(7_000_000_000, shape, replace(TINY, precision="mixed"), "zero3", 8, recomputed=True)
    assert (split.weights + split.gradients + split.optimizer) * 8 * 2**30 == pytest.approx(112e9)
