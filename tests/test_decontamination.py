"""What `datagen decontaminate TABLE` promises: any table alone, with results that say what was found and where."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from fault_server import MODEL, FaultServer

from datagen import cli
from datagen.decontamination import program_of, roles
from datagen.errors import ContaminationFound, InputError, UsageError

VERBATIM = "Count the elements of a list that are greater than a bound, where equal ones do not count at all."
REWRITTEN = "def tally(xs, top):\n    n = 0\n    for x in xs:\n        if x > top:\n            n += 1\n    return n\n"
ITEM = {
    "task_id": "over",
    "question": VERBATIM,
    "solution": "def over(values, bound):\n    return sum(v > bound for v in values)\n",
    "tests": ["assert over([1, 5, 9], 4) == 2", "assert over([], 4) == 0", "assert over([5, 6], 5) == 1"],
    "entry_point": "over",
}
ROWS = [
    {"instruction": VERBATIM, "output": "I cannot."},
    {"instruction": "Draw a square of stars.", "output": "def square(n):\n    return ['*' * n] * n\n"},
    {"instruction": "Prices above a limit?", "output": f"Sure:\n```python\n{REWRITTEN}```\nDone."},
]


def lines(path: Path, records: list[dict]) -> str:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Three rows: a verbatim question, a clean one, a rewritten solution in a fence."""
    return lines(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def bench(tmp_path: Path) -> str:
    """A benchmark of one item."""
    return lines(tmp_path / "bench.jsonl", [ITEM])


def run(*arguments: str) -> int:
    return cli.main(["decontaminate", *arguments])


def test_words_and_meaning_are_dropped(table: str, bench: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A verbatim question and a rewritten solution go, each with what was found; the clean row stays as it was; the
    funnel, both reports and their coverage are printed.
    """
    assert run(table, "--against", bench, "--exhaustive") == 0
    out = tmp_path / "rows-decontaminated"
    assert pl.read_parquet(out / "kept.parquet").to_dicts() == ROWS[1:2]
    dropped = pl.read_parquet(out / "dropped.parquet")
    assert dropped["row"].to_list() == [0, 2] and dropped["reason"].unique().to_list() == ["contaminated"]
    assert dropped.select("instruction", "output").to_dicts() == [ROWS[0], ROWS[2]]
    printed = capsys.readouterr().out
    assert "contaminated 2" in printed and "rows that overlap" in printed and "items checked" in printed


def test_every_span_reproduces(table: str, bench: str, tmp_path: Path) -> None:
    """The span of each hit that has one stands at its place in its column, that of a function in a fence too."""
    run(table, "--against", bench, "--exhaustive")
    hits = pl.read_parquet(tmp_path / "rows-decontaminated/hits.parquet")
    assert "execution" in hits["method"]
    for hit in hits.drop_nulls("start").to_dicts():
        assert ROWS[hit["row"]][hit["field"]][hit["start"] : hit["end"]] == hit["span"]


def test_mark_drops_nothing(table: str, bench: str, tmp_path: Path) -> None:
    """--mark keeps every row in order and adds the column contamination, null for the clean one."""
    assert run(table, "--against", bench, "--exhaustive", "--mark", "--out", str(tmp_path / "out")) == 0
    kept = pl.read_parquet(tmp_path / "out/kept.parquet")
    assert kept.drop("contamination").to_dicts() == ROWS
    assert kept["contamination"].is_null().to_list() == [False, True, False]
    assert not (tmp_path / "out/dropped.parquet").exists()


def test_marks_against_another_benchmark_stay(table: str, bench: str, tmp_path: Path) -> None:
    """A marked set that is marked again has both: what it came with is input.contamination, then input.input."""
    other = lines(tmp_path / "other.jsonl", [{"task_id": "stars", "question": "Reverse the words of a long sentence."}])
    run(table, "--against", bench, "--mark", "--out", str(tmp_path / "once"))
    run(str(tmp_path / "once/kept.parquet"), "--against", other, "--mark", "--out", str(tmp_path / "twice"))
    run(str(tmp_path / "twice/kept.parquet"), "--against", bench, "--mark", "--out", str(tmp_path / "thrice"))
    once, thrice = (pl.read_parquet(tmp_path / name / "kept.parquet") for name in ("once", "thrice"))
    marks = once["contamination"].to_list()
    assert marks[0] and thrice["contamination"].to_list() == marks == thrice["input.contamination"].to_list()
    assert thrice["input.input.contamination"].to_list() == [None] * 3


def test_dropped_rows_keep_columns_of_taken_names(bench: str, tmp_path: Path) -> None:
    """A column called as one of dropped.parquet, and one called as that would then be, are both there."""
    rows = [{"question": VERBATIM, "solution": "pass", "reason": "mine", "input.reason": "theirs"}]
    run(lines(tmp_path / "rows.jsonl", rows), "--against", bench)
    dropped = pl.read_parquet(tmp_path / "rows-decontaminated/dropped.parquet")
    assert dropped.select("reason", "input.input.reason", "input.reason").rows() == [("contaminated", "mine", "theirs")]


@pytest.mark.parametrize("mark", [(), ("--mark",)])
def test_fail_on_contamination_has_its_exit_code(table: str, bench: str, tmp_path: Path, mark: tuple[str, ...]) -> None:
    """With --fail-on-contamination a table that overlaps ends with exit code 12, marked or dropped, with its results
    written; a clean one ends with 0.
    """
    assert run(table, "--against", bench, "--fail-on-contamination", *mark) == ContaminationFound.exit_code == 12
    assert (tmp_path / "rows-decontaminated/kept.parquet").exists()
    assert run(lines(tmp_path / "clean.jsonl", ROWS[1:2]), "--against", bench, "--fail-on-contamination") == 0


def test_repeated_it_is_the_same(table: str, bench: str, tmp_path: Path) -> None:
    """The same command again writes the same bytes."""

    def written() -> dict[str, bytes]:
        run(table, "--against", bench)
        return {path.name: path.read_bytes() for path in (tmp_path / "rows-decontaminated").iterdir()}

    assert written() == written()


def test_own_ids_name_the_rows(bench: str, tmp_path: Path) -> None:
    """A table's own ids name its rows in the results, equal ones too: `row` tells them apart."""
    rows = [{"id": "same", "question": VERBATIM, "solution": "pass"}] * 2
    run(lines(tmp_path / "ids.jsonl", rows), "--against", bench)
    dropped = pl.read_parquet(tmp_path / "ids-decontaminated/dropped.parquet")
    assert dropped.select("source_id", "row").rows() == [("same", 0), ("same", 1)]


def test_chat_messages_are_read(bench: str, tmp_path: Path) -> None:
    """A table of chat messages is scanned, and the program in its answer is run."""
    messages = [{"role": "user", "content": "Prices?"}, {"role": "assistant", "content": f"```python\n{REWRITTEN}```"}]
    run(lines(tmp_path / "chat.jsonl", [{"messages": messages}]), "--against", bench, "--exhaustive")
    hits = pl.read_parquet(tmp_path / "chat-decontaminated/hits.parquet")
    assert hits["method"].to_list() == ["execution"]


def test_missing_column_names_the_columns(tmp_path: Path) -> None:
    """A column that is not there, and a table without one of a known name, are errors that list what there is."""
    with pytest.raises(InputError, match="alpha, beta"):
        roles(pl.DataFrame({"alpha": ["x"], "beta": ["y"]}))
    assert run(lines(tmp_path / "odd.jsonl", ROWS), "--against", "demo-heldout", "--column", "nope") == 3


def test_flags_of_tables_need_one(bench: str) -> None:
    """--column, --out and their like without a table are a mistake, not silently ignored; so is no benchmark."""
    assert run("--against", bench, "--column", "text") == UsageError.exit_code
    assert run("rows.jsonl") == UsageError.exit_code


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("Here:\n```python\ndef f():\n    return 1\n```\n", "def f():\n    return 1"),
        ("Here:\n```js\nfunction f() {}\n```\n", ""),
        ("No code at all, sorry", ""),
        ("", ""),
    ],
)
def test_program_of_an_answer(text: str, program: str) -> None:
    """The program is the text itself where it is Python, else its Python fences; prose has none."""
    assert program_of(text).strip() == program


@contextmanager
def serving(text: Callable[[str], str]) -> Iterator[FaultServer]:
    """A server in a thread of its own, which answers the last message."""

    def respond(body: dict) -> dict:
        message = {"role": "assistant", "content": text(body["messages"][-1]["content"])}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}

    server, loop, up = FaultServer(respond), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        async with server.running():
            up.set()
            await done.wait()

    done = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    up.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


def test_judge_is_asked_once(bench: str, tmp_path: Path) -> None:
    """--judge asks a model on a server about each row and its nearest item, both ways; what it calls the same is
    dropped, what it leaves open is unresolved, and the same command again asks nothing.
    """
    rows = [
        {"question": f"Count the elements of a {what} over a limit.", "solution": "x"}
        for what in ("list", "bag", "jar")
    ]
    table = lines(tmp_path / "asked.jsonl", rows)
    said = {"list": "yes", "bag": "no", "jar": "no, not quite"}
    with serving(lambda asked: next(answer for what, answer in said.items() if f"a {what} over" in asked)) as server:
        flags = ["--judge", "--engine", "server", "--base-url", server.url, "--judge-model", MODEL]
        assert run(table, "--against", bench, *flags) == 0
        assert len(server.seen) == 6
        assert run(table, "--against", bench, *flags) == 0
        assert len(server.seen) == 6
    dropped = pl.read_parquet(tmp_path / "asked-decontaminated/dropped.parquet")
    assert dropped.select("row", "reason", "method").rows() == [
        (0, "contaminated", "judge"),
        (2, "unresolved", "unresolved"),
    ]


@pytest.mark.slow
def test_killed_while_it_verifies_it_goes_on_to_the_same_bytes(bench: str, tmp_path: Path) -> None:
    """Killed with SIGKILL in the middle of verification, the same command goes on and ends with the bytes of one that
    nobody killed.
    """
    rows = [{**ROWS[number % 3], "id": str(number)} for number in range(120)]

    def command(name: str) -> list[str]:
        table = lines(tmp_path / f"{name}.jsonl", rows)
        flags = ["--against", bench, "--exhaustive", "--out", str(tmp_path / f"{name}-out")]
        return [sys.executable, "-m", "datagen", "decontaminate", table, *flags]

    def results(name: str) -> dict[str, bytes]:
        files = (tmp_path / f"{name}-out").iterdir()
        return {path.name: path.read_bytes() for path in files if path.suffix == ".parquet"}

    subprocess.run(command("whole"), check=True, capture_output=True)
    started = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ledger = tmp_path / ".killed-out.verify/verify/execution/ledger/active.jsonl"
    while started.poll() is None and (not ledger.exists() or ledger.stat().st_size < 1000):
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed-out").exists()
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert results("killed") == results("whole")
