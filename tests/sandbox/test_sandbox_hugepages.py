"""The interpreter's code on huge pages: the same bytes at the same places, and no harm where there are none."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOK = """
import ctypes, sys, types
package = types.ModuleType("sandbox")
package.__path__ = ["sandbox"]
sys.modules["sandbox"] = package
import sandbox.hugepages as hugepages
start, stop = hugepages._code()
first, end = -(-start // hugepages.SIZE) * hugepages.SIZE, stop // hugepages.SIZE * hugepages.SIZE
before = ctypes.string_at(first, max(0, end - first))
print(hugepages.back_code(), (end - first) // hugepages.SIZE)
print(ctypes.string_at(first, max(0, end - first)) == before)
print([line.split()[1] for line in open("/proc/self/maps") if int(line.split("-")[0], 16) == first])
import decimal, json, re
print(json.dumps([str(decimal.Decimal(1) / 7), re.sub("a", "b", "banana"), sorted("cab"), sum(range(1000))]))
"""


def look(text: str = LOOK, **options) -> list[str]:
    """The lines that a fresh interpreter prints."""
    ran = subprocess.run(
        [sys.executable, "-P", "-s", "-S", "-c", text], cwd=ROOT, capture_output=True, text=True, check=True, **options
    )
    return ran.stdout.splitlines()


def offered() -> bool:
    """Whether this machine gives huge pages to who asks for them."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    kernel = tuple(map(int, platform.release().split(".")[:2]))
    return (
        os.uname().machine == "x86_64"
        and kernel >= (6, 1)
        and setting.is_file()
        and "[never]" not in setting.read_text()
    )


@pytest.mark.skipif(not offered(), reason="no transparent huge pages on this machine")
def test_code_is_moved_byte_for_byte():
    """After the move the same bytes are where they were, readable and executable and not writable."""
    moved, same, rights, _ = look()
    pages, possible = map(int, moved.split())
    if possible < 1:
        pytest.skip("this interpreter's code is smaller than a huge page")
    assert pages in (0, possible)  # none, if the machine has no room for them just now
    assert same == "True"
    assert pages == 0 or rights == "['r-xp']"


def test_interpreter_goes_on_as_before():
    """Parsing, arithmetic, regular expressions and sorting work on moved code."""
    assert look()[-1] == '["0.1428571428571428571428571429", "bbnbnb", ["a", "b", "c"], 499500]'


def test_machine_without_huge_pages_is_left_alone():
    """Where the kernel refuses huge pages, nothing is moved and nothing is raised."""
    refuse = "import ctypes\nctypes.CDLL(None).prctl(41, 1, 0, 0, 0)\n"  # PR_SET_THP_DISABLE
    moved, same, *_, works = look(refuse + LOOK)
    assert moved.split()[0] == "0"
    assert same == "True"
    assert works.startswith('["0.14285')
