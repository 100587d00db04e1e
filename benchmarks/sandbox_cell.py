"""Where hostile programs meet runners that do not hold them back: a disposable copy of this machine.

The cell has its own process ids, mounts, network, host name and System V objects. Its file system is the machine's,
under an overlay that lives in memory: a program that deletes the standard library deletes it in the cell. Of devices
there are the harmless six. Clock, reboot, kernel modules, accounting and raw hardware, which no namespace covers, are
out of reach, as the capabilities for them are dropped. Address space, file size and the number of processes are
bounded; at more than MOST_PROCESSES all are killed.

This module is also the cell's first process, which no signal from inside can end: it answers on the network, so that
there is something to reach, forks a harness for every few cases, and sees what that leaves behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.sandbox_runners import LEVELS, Entrant, Unavailable, named, opened
from benchmarks.sandbox_workload import Program
from sandbox.catalogue import CATALOGUE, Entry, Kind

BUILD = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=1g,mode=755,nodev cell "$CELL"
for path in /*; do
    name=${path#/}
    if [ -L "$path" ]; then cp -P "$path" "$CELL/$name"; fi
    if [ -L "$path" ] || [ ! -d "$path" ]; then continue; fi
    mkdir -p "$CELL/$name" "$CELL/.over/$name/upper" "$CELL/.over/$name/work"
    layers="lowerdir=$path,upperdir=$CELL/.over/$name/upper,workdir=$CELL/.over/$name/work"
    case $name in dev | proc | sys) continue ;; esac
    # a user other than root may not cover a folder that others are mounted in: it stays empty
    mount -t overlay -o "nodev,$layers$OVERLAY" cell "$CELL/$name" || true
done
cd "$CELL"
chmod 1777 tmp
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys || true
mount -t tmpfs -o size=1m,mode=755 dev dev
for name in null zero full random urandom tty; do : > dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm
mount -t tmpfs -o size=256m,mode=1777 shm dev/shm
mkdir .old
pivot_root . .old
umount -l /.old
rmdir /.old
cd "$HOME_OF_CELL"
(echo nameserver 127.0.0.1 > /etc/resolv.conf) || true
# isolate refuses a folder on an overlay, whose files and folders are on different devices
if box=$(isolate --init 2> /dev/null); then isolate --cleanup; mount -t tmpfs -o mode=755 boxes "${box%/*}"; fi
exec setpriv --bounding-set -sys_time,-sys_boot,-sys_module,-sys_rawio,-sys_pacct -- "$@"
"""
RESULTS = Path("/outcomes")
SECONDS, HANGING_SECONDS = 1.0, 0.5
PATIENCE = 15.0
MOST_PROCESSES = 300
BATCH = 20
PASSED, REFUSED, NO_VERDICT, CANNOT_SAY = "passed", "not passed", "no verdict", "cannot say"
LEFT_BEHIND = "left processes behind"


def command(folder: str, name: str) -> list[str]:
    """What builds a cell over an empty folder and runs the cases against a runner in it."""
    apart = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inner = [sys.executable, "-m", "benchmarks.sandbox_cell", name]
    options = "" if os.geteuid() == 0 else ",userxattr"
    settings = ["env", f"CELL={folder}", f"HOME_OF_CELL={Path.cwd()}", f"OVERLAY={options}"]
    return ["unshare", *user, *apart, *settings, "sh", "-c", BUILD, "sh", *inner]


def cases() -> list[Entry]:
    """The catalogue's entries that mean something to any runner: without those made against this sandbox's design,
    those that need a second run, and those that need packages.
    """
    return [entry for entry in CATALOGUE if entry.kind not in (Kind.OWN, Kind.FLAKY) and not _special(entry)]


def _special(entry: Entry) -> bool:
    return bool(entry.needs - {os.uname().machine, LEVELS[0]}) or any("import pytest" in test for test in entry.tests)


def main(name: str) -> None:
    """Run all cases, print the outcome of each by its title."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    found = named(name, 1)
    doors = _network()
    try:
        opened(found, 0).close()  # what it imports is imported once, here
    except Unavailable as reason:
        print(json.dumps({"missing": str(reason)}), file=answers, flush=True)
        return
    _clear()
    outcomes: dict[str, str] = {}
    left = cases()
    while left:
        batch = left[: BATCH if found.pooled else 1]
        outcomes |= _harness(found, batch, doors)
        left = [entry for entry in left if entry.title not in outcomes]
    print(json.dumps({"missing": "", "outcomes": outcomes}), file=answers, flush=True)


def _harness(entrant: Entrant, batch: Sequence[Entry], doors: Sequence[socket.socket]) -> dict[str, str]:
    """The outcomes of the first cases of a batch, at least one: up to where the harness died or hung, if it did."""
    RESULTS.write_text("")
    pid = os.fork()
    if pid == 0:
        try:
            _serve(entrant, batch)
        finally:
            os._exit(0)
    ended = _watch(pid, doors)
    outcomes: dict[str, str] = dict(json.loads(line) for line in RESULTS.read_text().splitlines())
    last = [entry.title for entry in batch][: len(outcomes) + 1][-1]
    if len(outcomes) < len(batch):
        outcomes[last] = NO_VERDICT
    elif ended and _others():
        outcomes[last] = LEFT_BEHIND
    _clear()
    return outcomes


def _serve(entrant: Entrant, batch: Sequence[Entry]) -> None:
    """The harness: a process like any that uses the runner."""
    os.setsid()
    os.closerange(3, 1024)
    for kind, most in ((resource.RLIMIT_AS, 6 << 30), (resource.RLIMIT_NPROC, 512), (resource.RLIMIT_FSIZE, 1 << 30)):
        resource.setrlimit(kind, (most, most))
    runner = entrant.open(0)
    for entry in batch:
        before = [Program(entry.before, entry.tests, passes=True)] if entry.before else []
        seconds = HANGING_SECONDS if entry.kind is Kind.HANG else max(SECONDS, entry.limits.cpu_seconds)
        passed = [runner.run([one], seconds) for one in (*before, Program(entry.program, entry.tests, passes=True))][
            -1
        ][0]
        outcome = CANNOT_SAY if passed is None else PASSED if passed else REFUSED
        with RESULTS.open("a") as file:
            file.write(json.dumps([entry.title, outcome]) + "\n")
    runner.close()


def _watch(pid: int, doors: Sequence[socket.socket]) -> bool:
    """Until the harness ends, which is told, or is stuck, or has let too much loose."""
    size, deadline = 0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(_others()) < MOST_PROCESSES:
        _answer(doors)
        if RESULTS.stat().st_size > size:
            size, deadline = RESULTS.stat().st_size, time.monotonic() + PATIENCE
        if pid in _reap():
            time.sleep(0.2 if _others() else 0)  # what is on its way out may go
            _reap()
            return True
    return False


def _reap() -> list[int]:
    """Take the ended children: the harness, and whatever lost its parent."""
    found = []
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            found.append(pid)
    return found


def _others() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and entry.name != "1"]


def _clear() -> None:
    while _others():
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        _reap()
        time.sleep(0.005)


def _network() -> list[socket.socket]:
    """A network of one machine, with servers where the catalogue's programs look for them: web, names, an abstract
    name.
    """
    web, names, abstract = socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
    fcntl.ioctl(web, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    web.bind(("127.0.0.1", 80))
    web.listen(1000)
    names.bind(("127.0.0.1", 53))
    abstract.bind("\0x")
    abstract.listen(1000)
    return [names, web, abstract]


def _answer(doors: Sequence[socket.socket]) -> None:
    """Wait a moment; answer a question for a name with 192.0.2.1, or with nothing if no IPv4 address is wanted."""
    names = doors[0]
    if select.select([names], [], [], 0.01)[0]:
        message, asker = names.recvfrom(512)
        question = message[12 : message.find(b"\0", 12) + 5]
        if len(question) < 5:
            return
        found = b"\xc0\x0c" + question[-4:] + bytes([0, 0, 0, 60, 0, 4, 192, 0, 2, 1])
        answers = [found] if question[-4:] == b"\0\1\0\1" else []
        head = message[:2] + b"\x81\x80\0\1" + bytes([0, len(answers)]) + bytes(4)
        names.sendto(b"".join([head, question, *answers]), asker)


if __name__ == "__main__":
    main(sys.argv[1])
