"""System calls that are made past Python's own, against Python's own."""

import os
import signal
import subprocess
import sys
import time

import pytest

import sandbox.kernel as kernel

pytestmark = pytest.mark.skipif(not kernel.supported(), reason="not Linux on x86-64 or aarch64")

WORK = "data = bytearray(64 << 20); sum(range(2_000_000)); "


def started(code):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", WORK + code])


@pytest.mark.parametrize(
    ("code", "expected"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL), ("pass", 0)],
)
def test_wait_status_is_the_kernels(code, expected):
    """An exit code and a signal come out of a status as they do for `os.wait4`."""
    process = started(code)
    done, status, _, _ = kernel.wait4(process.pid, 0)
    process.returncode = expected
    assert done == process.pid
    assert os.waitstatus_to_exitcode(status) == expected


def test_usage_is_what_python_reports():
    """CPU seconds and peak memory are those of `os.wait4` for the same work."""
    twin, process = started("pass"), started("pass")
    _, _, usage = os.wait4(twin.pid, 0)
    _, _, seconds, peak = kernel.wait4(process.pid, 0)
    twin.returncode = process.returncode = 0
    assert peak == pytest.approx(usage.ru_maxrss, rel=0.1)
    assert 0.2 < seconds / (usage.ru_utime + usage.ru_stime) < 5


def test_nothing_to_wait_for():
    """A process that goes on is 0, and one that is no child an error."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert kernel.wait4(process.pid, os.WNOHANG)[0] == 0
    process.kill()
    process.wait()
    with pytest.raises(ChildProcessError, match="wait4"):
        kernel.wait4(process.pid, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "file").touch(),
        lambda folder: folder.chmod(0o755),
        lambda folder: os.utime(folder, (1, 1)),
        lambda folder: (folder / "below").mkdir(),
    ],
    ids=["file", "mode", "times", "folder"],
)
def test_state_tells_a_change(tmp_path, change):
    """The state of a folder is the same as long as nothing is done to it, and another after a change."""
    path = os.fsencode(tmp_path)
    before = kernel.state_of(path)
    assert kernel.state_of(path) == before
    time.sleep(0.02)  # a kernel's clock for files may stand still that long
    change(tmp_path)
    assert kernel.state_of(path) != before


def test_state_of_nothing(tmp_path):
    """A path that is not there is the error that `os.stat` raises."""
    with pytest.raises(FileNotFoundError):
        kernel.state_of(os.fsencode(tmp_path / "none"))
