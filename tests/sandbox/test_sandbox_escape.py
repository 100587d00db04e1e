"""A program gets at nothing outside its sandbox."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from sandbox import Limits, Status


def test_environment_holds_only_fixed_keys(host, monkeypatch):
    """Nothing of the user's environment reaches a program."""
    monkeypatch.setenv("API_KEY", "secret")
    program = "import os\ndef keys(): return sorted(os.environ)"
    expected = [
        "HOME",
        "LANG",
        "MALLOC_ARENA_MAX",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONHASHSEED",
        "TZ",
    ]
    assert host.run(program, f"assert set(keys()) - {{'TMPDIR'}} == set({expected})").status is Status.PASS


SECRET = "hunter2-in-the-coordinator"


def test_secret_of_the_users_process_is_not_in_memory(host):
    """The zygote is a fresh interpreter: what the user's process holds is not among a program's objects."""
    program = """
import gc
def find(parts):
    needle = "".join(parts)
    return any(needle in str(vars(thing)) for thing in gc.get_objects() if type(thing) is type(gc))
"""
    assert host.run(program, f"assert find({list(SECRET)}) is False").status is Status.PASS


def test_file_of_one_program_is_invisible_to_the_next(host):
    """The temporary folder is empty for every job, also after nested folders, links and modes that hinder deletion."""
    mess = """
import os
os.makedirs('a/b/c'); open('a/b/c/file', 'w').write('x'); os.symlink('/', 'link'); os.mkdir('shut', 0)
def f(): return sorted(os.listdir())
"""
    assert host.run(mess, "assert f() == ['a', 'link', 'shut']").status is Status.PASS
    assert host.run("import os\ndef f(): return os.listdir()", "assert f() == []").status is Status.PASS


def test_deep_folders_are_cleaned(host):
    """A folder nested deeper than a path can be long is gone for the next job."""
    mess = "import os\nfor _ in range(100):\n    os.mkdir('d' * 200); os.chdir('d' * 200)\ndef f(): return 1"
    assert host.run(mess, "assert f() == 1").status is Status.PASS
    assert host.run("import os\ndef f(): return os.listdir()", "assert f() == []").status is Status.PASS


def test_files_are_limited_in_number(best):
    """5,000 files are more than the temporary folder takes."""
    program = "def f():\n    for n in range(5000): open(str(n), 'w').close()"
    assert "OSError" in best.run(program, "f()").detail


def test_space_is_limited(best):
    """More than `file_mb` in many files is more than the temporary folder takes."""
    program = "def f():\n    for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))"
    assert "OSError" in best.run(program, "f()", limits=Limits(file_mb=8)).detail
    assert best.run(program, "f()", limits=Limits(file_mb=64)).status is Status.PASS


def test_no_listener_is_reached(host):
    """A server on this machine sees no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        verdict = host.run(f"import socket\ndef f(): socket.create_connection(('127.0.0.1', {port}))", "f()")
        with pytest.raises(TimeoutError):
            server.accept()
    assert verdict.status is Status.ERROR


def test_host_file_keeps_its_content(host, tmp_path: Path):
    """A file of the user's, world-writable, is neither read nor written."""
    target = tmp_path / "precious"
    target.write_text("mine")
    target.chmod(0o666)
    tmp_path.chmod(0o777)
    verdict = host.run(f"def f(): return open({str(target)!r}, 'r+').write('yours')", "f()")
    assert verdict.status is Status.ERROR
    assert target.read_text() == "mine"


def test_neighbours_do_not_see_each_other(host):
    """Two jobs one after the other share no module state."""
    assert host.run("import math\nmath.pi = 3\ndef f(): return math.pi", "assert f() == 3").status is Status.PASS
    assert host.run("import math\ndef f(): return math.pi", "assert f() > 3.1").status is Status.PASS


def test_this_process_runs_no_threads_for_it(best):
    """Running jobs starts no thread in the user's process."""
    before = threading.active_count()
    best.run("def f(): return 1", "assert f() == 1")
    assert threading.active_count() == before
