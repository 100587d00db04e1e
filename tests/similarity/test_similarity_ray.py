"""Dedup on a Ray cluster is dedup on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import corpus

from datagen.config import DedupConfig
from datagen.errors import ClusterUnavailable
from datagen.similarity.backend import choose
from datagen.similarity.bands import CAP
from datagen.similarity.matching import Found, Plan, State, find
from datagen.similarity.workspace import Workspace
from datagen.stages.dedup import deduplicate

ray = pytest.importorskip("ray")
from datagen.similarity import on_ray  # noqa: E402 -- it loads ray

pytestmark = pytest.mark.slow

PLAN = Plan(0.7, 3, 130, 26, 5)
ODD = ["", "...", None, "one", "ONE", "two words", "\N{GRINNING FACE}"]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A cluster of this machine alone; its address."""
    small = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
    ray.init(address="local", logging_level="ERROR", **small)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def template(rows: int) -> list[str]:
    """Texts that share all but their last word: one large bucket in many bands."""
    return [" ".join(f"part{word}" for word in range(24)) + f" number{row}" for row in range(rows)]


def here(texts, plan: Plan = PLAN, before: State | None = None) -> Found:
    with Workspace(1 << 30) as room:
        return find([pl.Series("text", texts, pl.String)], plan, choose("numpy", 0), room, before)


def there(texts, partitions: int, plan: Plan = PLAN, before: State | None = None) -> Found:
    return on_ray.find([pl.Series("text", texts, pl.String)], plan, "numpy", before, partitions=partitions)


def same(one: Found, other: Found) -> bool:
    arrays = [(getattr(one, name), getattr(other, name)) for name in ("kept", "jaccard", "same")]
    arrays += [(getattr(one.state, name), getattr(other.state, name)) for name in ("value", "keys", "sketch")]
    texts = one.state.text.to_list() == other.state.text.to_list()
    return texts and one.counts == other.counts and all(np.array_equal(mine, yours) for mine, yours in arrays)


@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 9), cut=st.floats(0, 1))
@settings(deadline=None, max_examples=6)
def test_the_result_is_that_of_one_machine(seed, partitions, cut):
    """Whatever the partitions: the same rows go for the same rows, at the same similarity, for the same work; also with
    equal and empty texts in all partitions, and after what was kept before."""
    texts = [*corpus(seed, 120), *ODD, *corpus(seed, 30), *ODD]
    at = int(cut * len(texts))
    before = here(texts[:at])
    assert same(there(texts, partitions), here(texts))
    assert same(there(texts[at:], partitions, before=before.state), here(texts[at:], before=before.state))


@pytest.mark.parametrize("flips", ["drop", "keep", "cap"])
def test_large_buckets_and_flips_are_those_of_one_machine(flips):
    """Buckets over CAP, with rows in all partitions, are led by the same rows, under each rule for flips."""
    turned = [text.replace(" number", " ascending number") for text in template(CAP)]
    texts = [
        *corpus(1, 100),
        *template(4 * CAP),
        *turned,
        *(text.replace("ascending", "descending") for text in turned),
    ]
    plan = Plan(0.7, 3, 130, 26, 5, flips=flips)
    one = here(texts, plan)
    assert one.counts.capped_buckets > 0
    assert same(there(texts, 4, plan), one)


@pytest.mark.parametrize("texts", [[], ["", "..."], ["alone"]], ids=["none", "empty", "one"])
def test_next_to_nothing(texts):
    """No text, no word and a single text are sets too."""
    assert same(there(texts, 3), here(texts))


def test_equal_texts_only():
    """Under a plan that is exact, too."""
    texts, plan = [*corpus(3, 60), *ODD] * 3, Plan(1.0, 3, 0, 0, 0, exact=True)
    assert same(there(texts, 4, plan), here(texts, plan))


def test_bands_that_are_split_over_tasks():
    """Where there are partitions enough that each band's keys go to several tasks, too."""
    texts = corpus(5, 250)
    assert same(there(texts, 2 * on_ray.PER_RANGE), here(texts))


def executing() -> list[int]:
    """Workers of this machine's clusters that run one of our tasks: Ray names a process for its task."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith((b"ray::_compare", b"ray::_sketch", b"ray::_bucket")):
            found.append(int(folder.name))
    return found


def test_a_killed_worker_costs_nothing_but_time():
    """A worker that dies in the middle of a task: Ray runs the task again, and the result is the same."""
    texts = corpus(7, 3000)
    killed: list[int] = []
    done = threading.Event()

    def kill_one() -> None:
        while not killed and not done.is_set():
            for pid in executing()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = there(texts, 3)
    done.set()
    killer.join()
    assert killed
    assert same(found, here(texts))


@pytest.mark.timeout(900)
def test_a_lost_node_costs_nothing_but_time():
    """kill -9 of a node with its workers and its objects: what was on it is made again, and the result is the same."""
    script = Path(__file__).with_name("lost_node.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout.strip().splitlines()[-1:] == ["killed the same"], ended.stderr[-2000:]


def test_the_stage_and_its_index_are_the_same():
    """`address` changes where the stage works, and nothing of what it says: rows, reasons, index, work."""
    frame = pl.DataFrame({"id": [f"q{row}" for row in range(300)], "question": corpus(9, 300)})
    one = deduplicate(frame, DedupConfig(), priority=["id"])
    other = deduplicate(frame, DedupConfig(address="auto"), priority=["id"])
    assert other.selection.kept.equals(one.selection.kept) and other.selection.dropped.equals(one.selection.dropped)
    assert other.index.ids.equals(one.index.ids) and other.work == one.work


def command(*arguments: str, folder: Path, start: str = "pass") -> subprocess.CompletedProcess[str]:
    """`datagen dedup` in a process of its own, after some code."""
    code = f"import sys; {start}; from datagen.cli import main; sys.exit(main({['dedup', *arguments]!r}))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=280,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_the_command_works_on_a_cluster_by_its_address(cluster, tmp_path):
    """`datagen dedup FILE --address HOST:PORT` writes what `datagen dedup FILE` writes."""
    pl.DataFrame({"question": corpus(11, 200)}).write_parquet(tmp_path / "rows.parquet")
    for out, more in (("one", ()), ("other", ("--address", cluster))):
        ended = command("rows.parquet", "--out", out, *more, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
    for file in ("kept.parquet", "removed.parquet", "clusters.parquet"):
        assert pl.read_parquet(tmp_path / "other" / file).equals(pl.read_parquet(tmp_path / "one" / file))


def test_no_cluster_at_the_address_is_one_line(tmp_path):
    """A dead address ends at once with one line: the address, what to start, an exit code of its own."""
    pl.DataFrame({"question": ["one"]}).write_parquet(tmp_path / "rows.parquet")
    for address in ("ray://127.0.0.1:9", "nonsense"):
        ended = command("rows.parquet", "--address", address, folder=tmp_path)
        assert ended.returncode == ClusterUnavailable.exit_code
        last = ended.stderr.strip().splitlines()[-1]
        assert address in last and "ray start --head" in last and "Traceback" not in ended.stderr


def test_without_ray_the_command_says_what_to_install(tmp_path):
    """Where ray is missing, --address says so and what to type; nothing else needs it."""
    pl.DataFrame({"question": ["one"]}).write_parquet(tmp_path / "rows.parquet")
    start = "sys.modules['ray'] = None"
    ended = command("rows.parquet", "--address", "auto", folder=tmp_path, start=start)
    assert ended.returncode == 11 and 'pip install "datagen[ray]"' in ended.stderr
    assert command("rows.parquet", folder=tmp_path, start=start).returncode == 0
