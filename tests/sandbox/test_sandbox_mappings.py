"""Libraries in fewer pieces: the same bytes, nothing both writable and executable, and an interpreter that works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOK = """
import ctypes, decimal, hashlib, json, math, sys, types
package = types.ModuleType("sandbox")
package.__path__ = ["sandbox"]
sys.modules["sandbox"] = package
import sandbox.mappings as mappings
kept = [piece for piece in mappings.of_files() if piece.rights[1] == "-"]
before = [hashlib.sha256(ctypes.string_at(piece.start, piece.stop - piece.start)).digest() for piece in kept]
pieces = len(mappings.current())
mappings.join()
after = [hashlib.sha256(ctypes.string_at(piece.start, piece.stop - piece.start)).digest() for piece in kept]
print(json.dumps({
    "changed": [piece.name for piece, old, new in zip(kept, before, after) if old != new],
    "pieces": [pieces, len(mappings.current())],
    "both": [piece.name for piece in mappings.current() if "wx" in piece.rights],
    "answer": [str(decimal.Decimal(1) / 7), math.comb(9, 4)],
}))
import _bisect, _heapq
print(_bisect.bisect_right([1, 2, 3], 2), _heapq.heappop([5]))
"""


def look() -> tuple[dict, str]:
    """What a fresh interpreter says of its mappings before and after, and what it computes with a library more."""
    ran = subprocess.run(
        [sys.executable, "-P", "-s", "-S", "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found, later = ran.stdout.splitlines()
    return json.loads(found), later


def test_libraries_are_in_fewer_pieces_with_the_same_bytes():
    """Joining takes at least one piece of each of the three extension modules, and changes no byte of any file."""
    found, _ = look()
    before, after = found["pieces"]
    assert after <= before - 3
    assert found["changed"] == []


def test_nothing_is_both_writable_and_executable():
    """No mapping can be written and run, before and after libraries are joined."""
    found, _ = look()
    assert found["both"] == []


def test_interpreter_and_later_libraries_work():
    """What was loaded computes as before, and more can be loaded."""
    found, later = look()
    assert found["answer"] == ["0.1428571428571428571428571429", 126]
    assert later == "2 5"
