"""What no sandbox of Python programs can beat: a process that is forked, ends at once, and is waited for.

Measured twice: by C, as the kernel's own price, and by an interpreter that is as warm as the sandbox's zygote, whose
pages have to be copied. The second is what the sandbox is held against.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sandbox

_WARM = """
import sys, types
package = types.ModuleType("sandbox")
package.__path__ = [sys.argv[1]]
sys.modules["sandbox"] = package
import gc, os, resource, time
import sandbox.kernel as kernel
import sandbox.rehearsal as rehearsal
import sandbox.zygote
count = int(sys.argv[2])
rehearsal.prepare()
clone = kernel.clone(0)
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
gc.collect()
gc.freeze()
before, started = cpu(), time.monotonic()
for _ in range(count):
    pid = kernel.make(clone)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print([cpu() - before, started, time.monotonic()])
"""
_C = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double used(int who) {
    struct rusage u;
    getrusage(who, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + 1e-6 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
int main(int count, char **arguments) {
    double started = now();
    for (int left = atoi(arguments[1]); left; left--) {
        int child = fork();
        if (child == 0) _exit(0);
        waitpid(child, 0, 0);
    }
    printf("[%f, %f, %f]", used(RUSAGE_SELF) + used(RUSAGE_CHILDREN), started, now());
    return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Forks:
    """What a number of forks took on several cores at once: CPU time of all, and from first to last moment."""

    count: int
    cpu: float
    wall: float


def warm(count: int, workers: int) -> Forks:
    """Forks of a warm interpreter, `count` in each of `workers` processes."""
    package = str(Path(sandbox.__file__).parent)
    return _run([sys.executable, "-P", "-s", "-S", "-B", "-c", _WARM, package, str(count)], count, workers)


def plain(count: int, workers: int) -> Forks | None:
    """Forks of a small C program; None without a compiler."""
    if shutil.which("cc") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "forks.c"), Path(folder, "forks")
        source.write_text(_C)
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
        return _run([str(program), str(count)], count, workers)


def _run(command: list[str], count: int, workers: int) -> Forks:
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env={}) for _ in range(workers)]
    answers = [process.communicate()[0] for process in running]
    if not all(answers):
        raise RuntimeError("the forks could not be measured: see what was written above")
    found = [json.loads(answer) for answer in answers]
    wall = max(ended for _, _, ended in found) - min(started for _, started, _ in found)
    return Forks(count * workers, sum(cpu for cpu, _, _ in found), wall)
