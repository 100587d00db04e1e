"""The command line of the sandbox."""

from __future__ import annotations

import pytest

from sandbox.__main__ import main, split_tests


def test_check_prints_the_level_and_the_catalogues_outcome(capsys):
    """`check` names the level that this machine reaches, runs the catalogue, and counts what came of it."""
    assert main(["check", "--quick"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("level L")
    assert printed.out.endswith(" s: 0 forged, 0 escaped, 0 hung, 0 wrongly failed\n")
    assert "catalogue: 50/" in printed.err


@pytest.mark.parametrize(("result", "code"), [("3", 0), ("4", 1)])
def test_run_says_by_its_exit_code(tmp_path, capsys, result, code):
    """`run` prints a line per test and exits 0 only if all passed."""
    program, tests = tmp_path / "program.py", tmp_path / "tests.py"
    program.write_text("def add(a, b): return a + b\n")
    tests.write_text(f"assert add(1, 1) == 2\nassert add(1, 2) == {result}\n")
    assert main(["run", str(program), "--tests", str(tests)]) == code
    assert capsys.readouterr().out.count("test ") == 2


def test_run_names_a_missing_file(tmp_path, capsys):
    """A file that is not there is named."""
    assert main(["run", str(tmp_path / "nothing.py"), "--tests", "x"]) == 2
    assert "nothing.py" in capsys.readouterr().err


def test_check_documents_its_exit_codes(capsys):
    """`check --help` says what each exit code means."""
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    printed = capsys.readouterr().out
    assert all(f"\n  {code}  " in printed for code in range(4))


def test_wrong_usage_is_2():
    """An unknown option ends with 2."""
    with pytest.raises(SystemExit) as ending:
        main(["check", "--nothing"])
    assert ending.value.code == 2


def test_help_has_an_example(capsys):
    """`run --help` shows a call that works."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "python -m sandbox run program.py --tests tests.py" in capsys.readouterr().out


def test_file_of_tests_is_split():
    """Each top-level statement with an assertion is a test, preceded by what is common."""
    source = "import math\n\ndef close(a):\n    assert a\n\nassert f(1)\nx = 2\nfor i in range(x):\n    assert f(i)\n"
    common = "import math\ndef close(a):\n    assert a\n"
    assert split_tests(source) == (f"{common}assert f(1)", f"{common}x = 2\nfor i in range(x):\n    assert f(i)")
