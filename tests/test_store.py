"""A run's folder: one writer, one set of settings, and what it says about itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from stage_kit import answer, question

from datagen.errors import InputError, RunLocked, SettingsChanged, StorageError
from datagen.pipeline import finish
from datagen.store import Report, RunFolder, finished_table, read_manifest, read_report, read_reports, read_status

SETTINGS = {"n": 10, "difficulties": ("easy", "medium"), "prompt": "ab12"}
HOLD = """
import sys, time
from pathlib import Path
from datagen.store import RunFolder
with RunFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in the run folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def enter(path):
    with RunFolder(path):
        pass


def test_second_process_is_refused_and_told_who_works(tmp_path, holder):
    """While one process works in a folder another is refused, with the first one's id."""
    with pytest.raises(RunLocked, match=f"process {holder.pid} works in this run folder"):
        enter(tmp_path / "run")


def test_lock_goes_with_the_process_that_holds_it(tmp_path, holder):
    """kill -9 of the holder frees the folder at once: there is no stale lock to remove by hand."""
    holder.kill()
    holder.wait()
    enter(tmp_path / "run")


def test_child_process_does_not_keep_the_lock(tmp_path):
    """A forked child that outlives the run (an engine shutting down) does not lock the next run out."""
    with RunFolder(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], input="", capture_output=True, text=True)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert done.stdout == "held\n"


def test_reading_takes_no_lock(tmp_path, holder):
    """Status can be asked while another process works."""
    assert read_status(tmp_path / "run") == [] and read_manifest(tmp_path / "run") == {}


def test_changed_setting_is_refused_by_name(tmp_path):
    """Every changed, added and removed key is named, old and new, with both ways out; equal settings pass."""
    with RunFolder(tmp_path) as run:
        run.stage("3-solve", SETTINGS)
    with RunFolder(tmp_path) as run:
        run.stage("3-solve", dict(reversed(SETTINGS.items())))
        with pytest.raises(SettingsChanged) as caught:
            run.stage("3-solve", {"n": 20, "difficulties": ("easy",), "new": 1})
    text = str(caught.value)
    for part in ('difficulties ["easy", "medium"] -> ["easy"]', "n 10 -> 20", "new (not set) -> 1", "--run OTHER",
                 'prompt "ab12" -> (not set)', f"delete {tmp_path / '3-solve'}"):  # fmt: skip
        assert part in text
    assert "\n" not in text


def test_unreadable_settings_are_named(tmp_path):
    """settings.json that is no JSON is never taken for "no settings yet"."""
    (tmp_path / "3-solve").mkdir()
    (tmp_path / "3-solve" / "settings.json").write_text('{"n": 1')
    with RunFolder(tmp_path) as run, pytest.raises(InputError, match=r"settings\.json"):
        run.stage("3-solve", SETTINGS)


def test_stage_asked_for_twice_is_one_folder(tmp_path):
    """Rounds ask for a stage again and get the same one, its ledger open."""
    with RunFolder(tmp_path) as run:
        assert run.stage("3-solve", SETTINGS) is run.stage("3-solve", SETTINGS)


def test_run_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    """A file where the folder should be is said in one line."""
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        enter(tmp_path / "run")


def test_manifest_knows_versions_platform_and_cores(tmp_path):
    """run.json tells what made the run: versions of datagen, Python and libraries, platform, cores, commit."""
    with RunFolder(tmp_path) as run:
        run.update_manifest(seed=7)
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert {"seed", "versions", "platform", "cores", "commit"} <= manifest.keys()
    assert manifest["versions"].keys() >= {"python", "pyarrow", "polars"}


def test_manifest_entries_are_merged(tmp_path):
    """A stage adds its models and digests without losing those of the stages before."""
    with RunFolder(tmp_path) as run:
        run.update_manifest(models={"questions": "a"}, seed=1)
        run.update_manifest(models={"solutions": "b"}, seed=2)
    manifest = read_manifest(tmp_path)
    assert manifest["models"] == {"questions": "a", "solutions": "b"} and manifest["seed"] == 2


def test_timings_add_up_over_resumes_and_failures(tmp_path):
    """The seconds of every attempt count, also of one that failed."""
    ticks = iter([0.0, 2.0, 10.0, 11.5])
    with RunFolder(tmp_path) as run:
        with run.timed("3-solve", lambda: next(ticks)):
            pass
        with pytest.raises(RuntimeError), run.timed("3-solve", lambda: next(ticks)):
            raise RuntimeError
    assert read_manifest(tmp_path)["timings"] == {"3-solve": 3.5}


def test_unfinished_stage_names_the_command_to_run(tmp_path):
    """Who needs a table that is not there is told which command makes it."""
    with pytest.raises(InputError, match=f"datagen dedup --run {tmp_path}"):
        finished_table(tmp_path, "2-dedup")


def test_status_shows_an_unfinished_and_a_finished_stage(tmp_path):
    """Counts come from the ledger while a stage runs; the report joins them when it is finished."""
    with RunFolder(tmp_path) as run:
        for name in ("1-questions", "3-solve"):
            ledger = run.stage(name, {}).ledger
            for number in range(1, 4):
                ledger.append(answer(question(number)))
        report = finish(run.stage("1-questions", {}), type(question(0)), [question(n).id for n in range(1, 4)])
        first, second = read_status(tmp_path)
    assert (first.name, first.done, first.report) == ("1-questions", 3, report)
    assert (second.name, second.done, second.failed, second.report) == ("3-solve", 3, 0, None)
    assert read_reports(tmp_path) == (report,) and finished_table(tmp_path, "1-questions").is_file()


def test_report_comes_back_as_it_was(tmp_path):
    """report.json holds the whole report, with sorted keys."""
    report = Report("3-solve", 3, 4, 1, {"none-passed": 2, "flaky": 1}, 1, {"yield": 0.5})
    with RunFolder(tmp_path) as run:
        run.stage("3-solve", {}).publish(report)
    text = (tmp_path / "3-solve" / "report.json").read_text()
    assert read_report(tmp_path / "3-solve") == report
    assert list(json.loads(text)) == sorted(asdict(report)) and text.index("flaky") < text.index("none-passed")


def test_recipe_is_written_as_given(tmp_path):
    """recipe.toml is the text that was resolved."""
    with RunFolder(tmp_path) as run:
        run.write_recipe("# datagen run x\n")
    assert (tmp_path / "recipe.toml").read_text() == "# datagen run x\n"


@pytest.mark.parametrize("text", ['{"stage": "1-questions", "more": 1}', "[]", '{"stage": "1-questions"}'])
def test_report_of_another_shape_is_named(tmp_path, text):
    """A report with keys that this version does not know, or without those that it needs, is an InputError."""
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=r"report\.json: is no report that can be read"):
        read_report(tmp_path)


def test_manifest_of_another_shape_is_named(tmp_path):
    """A run.json that holds no object is an InputError with its path, in reading as in adding to it."""
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match=r"run\.json: holds no JSON object"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"run\.json"), RunFolder(tmp_path) as run:
        run.update_manifest(seed=1)
