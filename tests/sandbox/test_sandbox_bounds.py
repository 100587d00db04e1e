"""One test of a job does not decide another, limits are per test, and verdicts say what happened."""

from __future__ import annotations

from sandbox import Limits, Status


def test_hanging_test_does_not_hide_others(best):
    """Tests before and after one that hangs keep their own results."""
    program = "def f(x):\n    while x == 2: pass\n    return x"
    verdict = best.run(program, *(f"assert f({n}) == {n}" for n in range(5)), limits=Limits(cpu_seconds=0.2))
    assert [result.status for result in verdict.tests] == ["pass", "pass", "timeout", "pass", "pass"]


def test_crashing_test_does_not_hide_others(best):
    """The same for one that kills the program's process."""
    program = "import os\ndef f(x):\n    if x == 1: os._exit(3)\n    return x"
    verdict = best.run(program, *(f"assert f({n}) == {n}" for n in range(4)))
    assert [result.status for result in verdict.tests] == ["pass", "error", "pass", "pass"]
    assert "exit code 3" in verdict.tests[1].detail


def test_two_hanging_tests_end_the_job(best):
    """After two tests that hang the rest are given up, so that a job costs a few limits, not one per test."""
    verdict = best.run("def f():\n    while True: pass", *["f()"] * 50, limits=Limits(cpu_seconds=0.1))
    assert {result.status for result in verdict.tests} == {Status.TIMEOUT}
    assert verdict.cpu_seconds < 1
    assert "not run" in verdict.tests[-1].detail


def test_each_test_has_the_whole_limit(best):
    """Tests that together need more than the limit pass, if each alone stays within it."""
    burn = "    end = time.process_time() + 0.2\n    while time.process_time() < end: pass\n"
    program = f"import time\ndef f():\n{burn}    return 1"
    verdict = best.run(program, *["assert f() == 1"] * 4, limits=Limits(cpu_seconds=0.5))
    assert verdict.status is Status.PASS, verdict


def test_failing_test_says_what_it_saw(best):
    """The report of a failed assertion names both sides; that of an exception, the program's own line."""
    program = "def f(x):\n    if x == 0:\n        return 1 // x\n    return 3"
    verdict = best.run(program, "assert f(1) == 4", "assert f(0) == 1", "assert f(1) in [1, 2], 'not there'")
    assert [result.detail for result in verdict.tests] == [
        "got 3, expected 4",
        "ZeroDivisionError: integer division or modulo by zero (line 3)",
        "got 3, expected it in [1, 2]: 'not there'",
    ]


def test_program_that_does_not_load_fails_every_test(best):
    """Every test of a program that does not load has that as its result."""
    verdict = best.run("def f(:\n", "assert f() == 1", "assert f() == 2")
    assert [result.status for result in verdict.tests] == [Status.ERROR] * 2
    assert "SyntaxError" in verdict.tests[1].detail


def test_test_that_does_not_parse_is_an_error(best):
    """A test that is not Python has an error of its own; the others run."""
    verdict = best.run("def f(): return 1", "assert f(", "assert f() == 1")
    assert [result.status for result in verdict.tests] == [Status.ERROR, Status.PASS]


def test_test_that_ends_its_process_is_an_error(best):
    """A test that exits does not pass and does not hide the next."""
    verdict = best.run("def f(): return 1", "import os\nos._exit(0)", "assert f() == 1")
    assert [result.status for result in verdict.tests] == [Status.ERROR, Status.PASS]


def test_seed_changes_hashes_and_random_numbers(best):
    """The same job under two seeds shows what depends on hash order or on `random`; under one seed nothing changes."""
    program = "import random\nR = random.random()\ndef f(): return list({str(n) for n in range(50)}), R"
    outcomes = [best.run(program, "assert f() == 0", seed=seed).detail for seed in (0, 0, 1)]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_usage_is_recorded(best):
    """A verdict says how much CPU time and memory the program took."""
    program = "import time\nX = bytearray(100 << 20)\nfor i in range(0, len(X), 4096): X[i] = 1\ndef f(): return 1"
    verdict = best.run(program, "assert f() == 1")
    assert 100 < verdict.peak_memory_mb < 200
    assert 0.001 < verdict.cpu_seconds < 1
