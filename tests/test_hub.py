"""A push against a server that speaks the Hub's API: what arrives, what stays, and what is said when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hub_server import CUT, LOST, HubServer

from datagen.card import stamp
from datagen.errors import InputError, UsageError
from datagen.hub import push, push_model

REPO = "ada/python-questions"
FRONT = "---\nlicense: apache-2.0\n---\n\n"
CARD = stamp(f"{FRONT}# Questions\n")
SCRIPT = """
import json, sys
from pathlib import Path
from datagen.errors import DatagenError
from datagen import hub
try:
    push, options = getattr(hub, sys.argv[4]), json.loads(sys.argv[3])
    done = push(Path(sys.argv[1]), sys.argv[2], wait=lambda seconds: None, **options)
except DatagenError as error:
    print(error)
    sys.exit(error.exit_code)
print(done)
print(done.message)
"""
LOAD = """
import sys
from datasets import load_dataset
for name in ("default", "rejected"):
    print(load_dataset(sys.argv[1], name, split="train").to_list())
"""


class Result(NamedTuple):
    """How a push in a process of its own ended; `error` is the line it said, `code` the exit code it stands for."""

    url: str
    message: str
    error: str
    code: int
    output: str


def environment(hub: HubServer, home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip


def run_push(
    hub: HubServer, folder: Path, repo: str = REPO, env: dict[str, str] | None = None, how: str = "push", **options
) -> Result:
    command = [sys.executable, "-c", SCRIPT, str(folder), repo, json.dumps(options), how]
    env = environment(hub, folder.parent) | (env or {})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert hub.token not in done.stdout + done.stderr
    output = done.stdout + done.stderr
    if done.returncode:
        (error,) = done.stdout.splitlines() or [done.stderr]
        return Result("", "", error, done.returncode, output)
    url, message = done.stdout.splitlines()
    return Result(url, message, "", 0, output)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


FILES = {
    "README.md": CARD.encode(),
    "data/train-00000-of-00002.parquet": b"PAR1 first shard" * 50,
    "data/train-00001-of-00002.parquet": b"PAR1 second shard" * 50,
    "rejected/train-00000-of-00001.parquet": b"PAR1 rejected" * 50,
}

MODEL = {
    "README.md": stamp(f"{FRONT}# A model\n").encode(),
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"first weights" * 50,
    "model-00002-of-00002.safetensors": b"second weights" * 50,
    "model.safetensors.index.json": b"{}",
    "tokenizer.json": b"{}",
}


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "dataset", FILES)


def test_push_is_one_commit_of_identical_files(hub, folder):
    """A push makes the repository and puts every file there, byte for byte, in one commit; it returns the address."""
    done = run_push(hub, folder)
    assert done.url == f"{hub.url}/datasets/{REPO}"
    assert hub.repos[REPO].files() == FILES
    assert len(hub.repos[REPO].branches["main"]) == 2


def test_push_needs_no_flag_to_be_public(hub, folder):
    """Without --private the repository is public."""
    run_push(hub, folder)
    assert hub.repos[REPO].private is False


def test_push_private(hub, folder):
    """With --private the repository is made private."""
    run_push(hub, folder, private=True)
    assert hub.repos[REPO].private is True


def test_private_push_to_a_public_repository_publishes_nothing(hub, folder):
    """--private on a repository that is public is refused before anything is sent."""
    hub.add(REPO, {})
    done = run_push(hub, folder, private=True)
    assert done.code == 8 and "is public" in done.error
    assert hub.repos[REPO].files() == {}


def test_second_push_updates_and_deletes_stale_shards(hub, folder):
    """A push with fewer shards replaces the data in one commit: the earlier shards are gone, others' files stay."""
    hub.add(REPO, FILES | {"notes.txt": b"by hand", "data/extra.csv": b"by hand"})
    for name in FILES:
        (folder / name).unlink()
    fewer = {"README.md": CARD.encode(), "data/train-00000-of-00001.parquet": b"PAR1 only shard" * 50}
    run_push(hub, write(folder, fewer))
    assert hub.repos[REPO].files() == fewer | {"notes.txt": b"by hand", "data/extra.csv": b"by hand"}
    assert len(hub.repos[REPO].branches["main"]) == 2


def test_push_of_the_same_files_makes_no_commit(hub, folder):
    """Pushing what is already there succeeds and adds no commit."""
    hub.add(REPO, FILES)
    assert run_push(hub, folder).url
    assert len(hub.repos[REPO].branches["main"]) == 1


def test_push_to_a_branch_leaves_main_alone(hub, folder):
    """A revision other than main is made and committed to; main keeps what it had."""
    run_push(hub, folder, revision="draft")
    assert hub.repos[REPO].files("draft") == FILES
    assert hub.repos[REPO].files() == {}


def test_hidden_files_and_waiting_cards_stay_at_home(hub, folder):
    """Hidden files and README.new.md are not published."""
    write(folder, {".cache/x": b"1", ".note": b"2", "README.new.md": b"3"})
    run_push(hub, folder)
    assert hub.repos[REPO].files() == FILES


def test_card_edited_on_the_hub_is_kept(hub, folder):
    """A card that was edited on the Hub is not overwritten: ours becomes README.new.md there, and the user is told."""
    edited = CARD.replace("Questions", "My questions").encode()
    hub.add(REPO, {"README.md": edited})
    done = run_push(hub, folder)
    assert hub.repos[REPO].files() == FILES | {"README.md": edited, "README.new.md": CARD.encode()}
    assert "README.new.md" in done.message


def test_generated_card_on_the_hub_is_replaced(hub, folder):
    """A card on the Hub that datagen wrote is replaced by the new one, and a card that waited beside it goes."""
    hub.add(REPO, {"README.md": stamp(f"{FRONT}# Old\n").encode(), "README.new.md": b"waited"})
    assert run_push(hub, folder).message == ""
    assert hub.repos[REPO].files() == FILES


def test_blank_card_of_a_new_repository_is_replaced(hub, folder):
    """The card that the Hub writes for a repository made in the browser, front matter only, is replaced."""
    hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n"})
    run_push(hub, folder)
    assert hub.repos[REPO].files() == FILES


def test_pushed_data_set_loads_from_the_hub(hub, tmp_path):
    """After a push, `load_dataset("NAME/DATASET")` on that Hub gives the rows of each config."""
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {folder}/train-*.parquet\n"
        for name, folder in (("default", "data"), ("rejected", "rejected"))
    )
    card = f"---\nlicense: mit\nconfigs:\n{configs}---\n\n# Questions\n"
    folder = write(tmp_path / "dataset", {"README.md": card.encode(), "data/x": b"", "rejected/x": b""})
    pl.DataFrame({"id": ["a"]}).write_parquet(folder / "data/train-00000-of-00002.parquet")
    pl.DataFrame({"id": ["b"]}).write_parquet(folder / "data/train-00001-of-00002.parquet")
    pl.DataFrame({"reason": ["empty"]}).write_parquet(folder / "rejected/train-00000-of-00001.parquet")
    run_push(hub, folder)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, REPO], env=environment(hub, tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[{'id': 'a'}, {'id': 'b'}]", "[{'reason': 'empty'}]"]


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("create", 401, "hf auth login"),
        ("create", 403, "may write"),
        ("info", 404, "Check the name"),
        ("commit", 409, "Someone else committed"),
        ("commit", 412, "Someone else committed"),
        ("create", 429, "wait a few minutes"),
        ("commit", 500, "Run the same command again"),
        ("commit", CUT, "Check the network"),
        ("create", CUT, "Check the network"),
    ],
)
def test_failure_is_one_line_with_a_next_step(hub, folder, kind, status, says):
    """Each way in which the Hub can fail is one line with what to do next, exit code 8, and nothing half published."""
    hub.fail(kind, status, times=9)
    done = run_push(hub, folder)
    assert done.code == 8 and says in done.error and REPO in done.error
    assert status < 0 or str(status) in done.error
    assert all(not repo.files() for repo in hub.repos.values())
    assert "Traceback" not in done.output


def test_failed_upload_of_a_file_is_named_by_its_cause(hub, folder):
    """A file that the storage refuses gives the storage's answer, not the wrapper's, and no commit."""
    hub.fail("blob", 403, times=9)
    done = run_push(hub, folder)
    assert done.code == 8 and "403" in done.error
    assert hub.repos[REPO].files() == {}


@pytest.mark.parametrize("status", [500, CUT])
def test_passing_failure_is_tried_again(hub, folder, status):
    """A server error or a cut connection that passes does not stop a push."""
    hub.fail("commit", status, times=2)
    assert run_push(hub, folder).url
    assert hub.repos[REPO].files() == FILES


def test_lost_answer_does_not_commit_twice(hub, folder):
    """When the commit arrives and its answer is lost, the next try sees that nothing is left to do."""
    hub.add(REPO, {"data/train-00000-of-00007.parquet": b"stale"})
    hub.fail("commit", LOST)
    assert run_push(hub, folder).url
    assert hub.repos[REPO].files() == FILES
    assert len(hub.repos[REPO].branches["main"]) == 2


def test_no_server_at_all(hub, folder):
    """An address where nobody listens is one line that names it."""
    done = run_push(hub, folder, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.code == 8 and "http://127.0.0.1:9" in done.error


def test_offline_switch(hub, folder):
    """HF_HUB_OFFLINE is respected and named; no call is made."""
    done = run_push(hub, folder, env={"HF_HUB_OFFLINE": "1"})
    assert done.code == 8 and "HF_HUB_OFFLINE" in done.error
    assert hub.calls == []


def test_no_token(hub, folder):
    """Without a token the push says how to log in; no call is made."""
    done = run_push(hub, folder, env={"HF_TOKEN": ""})
    assert done.code == 8 and "hf auth login" in done.error
    assert hub.calls == []


def test_token_that_no_header_can_hold_is_not_printed(hub, folder):
    """A token that no HTTP header can hold fails without being printed."""
    done = run_push(hub, folder, env={"HF_TOKEN": "hf_secret\x0bpart"})
    assert done.code == 8
    assert "hf_secret" not in done.output


@pytest.mark.parametrize(
    "name", ["data", "a/b/c", "a/", "/b", "a b/c", "a/b--c", "a/b..c", "a/b.git", "-a/b", "a/b.", ""]
)
def test_malformed_name(folder, name):
    """A name that is not NAME/DATASET is a UsageError that shows the form."""
    with pytest.raises(UsageError, match="Give NAME/DATASET"):
        push(folder, name)


def test_push_without_licence_is_refused(folder):
    """A card without a licence is a UsageError that names the flag: a licence is never guessed."""
    (folder / "README.md").write_text(stamp("---\nlanguage:\n- en\n---\n\n# Questions\n"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"--license apache-2\.0"):
        push(folder, REPO)


def test_model_is_pushed_as_one_commit_of_identical_files(hub, tmp_path):
    """A model's folder becomes a model repository with every file, byte for byte, in one commit."""
    folder = write(tmp_path / "model", MODEL | {".cache/x": b"1"})
    done = run_push(hub, folder, "ada/python-7b", how="push_model", private=True)
    assert done.url == f"{hub.url}/ada/python-7b"
    assert hub.repos["ada/python-7b"].files() == MODEL
    assert hub.repos["ada/python-7b"].private and len(hub.repos["ada/python-7b"].branches["main"]) == 2


def test_second_push_of_a_model_deletes_stale_weights(hub, tmp_path):
    """Weights in other shards than before replace those in the same commit; a card edited on the Hub stays."""
    edited = MODEL["README.md"] + b"by hand"
    hub.add("ada/python-7b", MODEL | {"README.md": edited, "eval.txt": b"by hand"})
    single = {name: MODEL[name] for name in ("README.md", "config.json", "tokenizer.json")}
    single["model.safetensors"] = b"all weights" * 90
    done = run_push(hub, write(tmp_path / "model", single), "ada/python-7b", how="push_model")
    there = single | {"README.md": edited, "README.new.md": single["README.md"], "eval.txt": b"by hand"}
    assert hub.repos["ada/python-7b"].files() == there
    assert "README.new.md" in done.message


def test_model_that_fails_to_arrive_is_one_line(hub, tmp_path):
    """A Hub that refuses weights gives one line with what to do, exit code 8, and nothing half published."""
    hub.fail("blob", 403, times=9)
    done = run_push(hub, write(tmp_path / "model", MODEL), "ada/python-7b", how="push_model")
    assert done.code == 8 and "403" in done.error and "hf auth login" in done.error
    assert hub.repos["ada/python-7b"].files() == {}


def test_model_without_weights_or_licence_is_refused(tmp_path):
    """A folder without weights names the one to give; a card without a licence says where one belongs."""
    with pytest.raises(UsageError, match="Give NAME/MODEL"):
        push_model(write(tmp_path / "a", MODEL), "python-7b")
    with pytest.raises(InputError, match="`datagen finetune` wrote"):
        push_model(write(tmp_path / "b", {"README.md": MODEL["README.md"]}), "ada/python-7b")
    with pytest.raises(UsageError, match="the card's front matter"):
        push_model(write(tmp_path / "c", MODEL | {"README.md": b"# A model"}), "ada/python-7b")
