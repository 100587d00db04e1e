"""`datagen push --model --eval`: scores of finished evaluations on the card that a Hub on loopback receives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from eval_kit import score
from hub_server import HubServer

from datagen.card import is_generated
from datagen.cli import main
from datagen.errors import InputError, UsageError
from datagen.training.card import TuneFacts, model_card

CARD = model_card(
    TuneFacts("tuned", "ada/coder", "rows", 22, 600, 6, 700, 30_000, "datagen finetune rows", "0.1.0", license="mit")
)


@pytest.fixture
def model(tmp_path):
    """The folder of a tuned model, with the card that a fine-tune writes."""
    folder = tmp_path / "models/tuned/model"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "model.safetensors").write_bytes(b"weights" * 90)
    return folder


def test_scores_of_evaluations_are_published_on_the_card(model, tmp_path):
    """The Hub's card says value, interval, protocol with its hash, n and temperature, of this model and of its base;
    nothing else on it changes, and it counts as ours.
    """
    found = score(tmp_path / "evals/tuned", model=str(model), limit=2)["benchmarks"]["interview"]
    score(tmp_path / "evals/base", model="ada/coder", limit=2)
    with HubServer() as hub:
        home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token} | home
        command = [sys.executable, "-m", "datagen", "push", "ada/tuned", "--model", "models/tuned/model"]
        flags = ["--eval", "evals/base", "evals/tuned"]
        done = subprocess.run([*command, *flags], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        card = hub.repos["ada/tuned"].files()["README.md"].decode()
    one = found["pass@k"]["1"]
    interval = f"{one['value']:.1%} | {one['low']:.1%} to {one['high']:.1%}"
    lines = [line for line in card.splitlines() if line.startswith("| interview |")]
    of = f"| interview | 2 | plain/any/chat ({found['protocol_hash']})"
    assert lines == [
        f"{of} | `{name}` | 4 | 0.8 | pass@1 | {interval} |" for name in ("ada/coder", "this model")
    ]  # fmt: skip
    assert card.partition("## Evaluation")[0] == CARD.partition("## Evaluation")[0]
    assert card.partition("## Licence")[2].splitlines()[:-1] == CARD.partition("## Licence")[2].splitlines()[:-1]
    assert is_generated(card) and (model / "README.md").read_text() == card


def test_what_is_no_evaluation_leaves_the_card_alone(model, tmp_path, capsys):
    """An unfinished evaluation, and --eval without a model, are lines that say what to type; the card stays."""
    assert main(["push", "ada/tuned", "--model", str(model), "--eval", str(tmp_path)]) == InputError.exit_code
    assert "datagen eval --model MODEL" in capsys.readouterr().err
    assert main(["push", "ada/tuned", "--eval", str(tmp_path)]) == UsageError.exit_code
    assert "--model models/NAME/model" in capsys.readouterr().err
    assert (model / "README.md").read_text() == CARD
