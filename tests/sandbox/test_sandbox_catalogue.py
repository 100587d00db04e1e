"""Every program of the catalogue gets a true verdict at every level and in both tiers, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from sandbox import Limits, Status, Tier, Verdict
from sandbox.catalogue import CATALOGUE, Kind
from sandbox.catalogue.cases import PASSING, QUICK, Entry
from sandbox.catalogue.check import printable, selection, summary
from sandbox.catalogue.runner import Fault, Outcome, applicable, judge, run_catalogue
from sandbox.catalogue.traces import Traces, children, left_behind

LEVELS = ["L0", "L1"]
TIERS = [Tier.SCREEN, Tier.FULL]


def state() -> dict[str, object]:
    """What a run could leave in this process and on this machine."""
    return {
        "processes": children(os.getpid()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": Path("/proc/self/mounts").read_text(),
        "files": os.listdir(tempfile.gettempdir()),
    }


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Workers make their folders where nobody else does meanwhile, and where every user may enter."""
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = usual


@cache
def run_all(level: str, tier: Tier) -> tuple[dict[str, Outcome], object, object]:
    """The outcomes by title, and the state before and after.

    The full tier begins with the screen: alone, that is run for those whose full verdict does not tell what it said.
    """
    entries = applicable(CATALOGUE, level)
    if tier is Tier.SCREEN:
        entries = [entry for entry in entries if not tells_the_screen(entry, run_all(level, Tier.FULL)[0])]
    with own_temporary_folder():
        before = state()
        outcomes = asyncio.run(run_catalogue(entries, level, tier, lanes=3))
        after = state()
    return {outcome.entry.title: outcome for outcome in outcomes}, before, after


def tells_the_screen(entry: Entry, full: dict[str, Outcome]) -> bool:
    """Whether the full verdict is the screen's, or one that only what passed the screen can get."""
    verdict = full[entry.title].verdict
    passed = verdict is not None and verdict.status in PASSING | {Status.DISPUTED, Status.FLAKY}
    return passed or not entry.screen & PASSING


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.title)
def test_verdict_is_true_and_nothing_is_left(level, tier, entry):
    """A program of the catalogue gets a true verdict, and leaves no process, descriptor, mount or file."""
    outcomes, _, _ = run_all(level, tier)
    outcome = outcomes.get(entry.title) or run_all(level, Tier.FULL)[0].get(entry.title)
    if outcome is None:
        pytest.skip(f"needs {', '.join(sorted(entry.needs))}")
    assert not outcome.fault, outcome.describe()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tier", TIERS)
def test_user_finds_everything_as_before(level, tier):
    """After the whole catalogue the user's process has the children, descriptors and mounts that it had, and the
    temporary folder its entries.
    """
    _, before, after = run_all(level, tier)
    assert after == before


def test_titles_are_unique():
    """No two entries have the same title."""
    titles = [entry.title for entry in CATALOGUE]
    assert len(set(titles)) == len(titles)


PROMISED = {
    Kind.FORGE: """
        sys.exit(0) at import|sys.exit(0) in f|os._exit(0) at import|os._exit(0) in f|SystemExit raised|atexit exits 0|
        excepthook exits 0|timer thread exits 0|alarm handler exits 0|prints markers|equal to everything|
        int subclass with __eq__|patched abs|patched all|patched len|patched isinstance|patched math.isclose|
        patched unittest|trace function that jumps|verdicts on every descriptor|locals of the judge|
        expected values from frames|expected values from constants|PYTHONOPTIMIZE|compiled without assertions|
        expected values from the heap|sys.modules tampered with|replaced __builtins__|import hook|__class__ lies
    """,
    Kind.READ: """
        /etc/passwd|environment|own environment through /proc|parent's environment|init's environment|
        a host file through a path that climbs|a host file through a symbolic link|inherited descriptors|
        a secret in forked memory|list of processes|tracing the parent|memory of the parent
    """,
    Kind.WRITE: """
        a host file|shared memory|unlink through ctypes|200 MB in one file|5,000 files|
        a file visible to the next program
    """,
    Kind.NETWORK: "TCP|UDP|names|abstract socket|bind and listen",
    Kind.PROCESS: """
        signal to everybody|signal to the parent|fork bomb through ctypes|daemon that forks twice|os.system|execve|
        400 threads|700 MB|raised limits|scheduler|priority
    """,
    Kind.KERNEL: """
        keyctl|io_uring|userfaultfd|perf events|bpf|unshare|mount|chroot|setuid 0|mknod|open_by_handle_at|
        writable and executable memory|memfd|System V shared memory|personality
    """,
    Kind.HANG: """
        loop in f|loop that ignores SIGALRM|loop with all signals blocked|loop that catches everything|endless sleep|
        deadlock|input|catastrophic regular expression|huge integer to text|unlimited recursion|NULL dereference|abort|
        stops itself|endless output|50 MB exception message|__str__ of an exception raises|__repr__ exits|__del__ exits|
        metaclass __name__ raises|10 million elements|deeply nested result|self-referential result|
        closes every descriptor|floods every descriptor|lingering thread|100,000 nested parentheses
    """,
    Kind.MUST_PASS: """
        Unicode|CRLF|byte order mark|lone surrogate in the source|200 KB of output|200 KB of error output|
        recursion of 900|recursion of 5,000|threads|asyncio inside|tempfile|file in the working folder|
        pickle of a class of its own|dataclass with future annotations|huge integer|NaN and infinity|
        expected exception|custom exception|mutation in place|class with an interface|generator|closure|callback|
        Counter and defaultdict|Decimal and Fraction|named tuple|sets of tuples|0.3 s of CPU time|
        __main__ guard with input|numpy
    """,
    Kind.FLAKY: "unseeded random numbers|order of a set|wall clock",
}


@pytest.mark.parametrize("kind", PROMISED, ids=str)
def test_every_promised_attack_is_there(kind):
    """The catalogue has every attack and every oddity that the sandbox promises to cover, by its name."""
    there = {entry.name for entry in CATALOGUE if entry.kind is kind}
    promised = {name.strip() for name in PROMISED[kind].replace("\n", "").split("|")}
    assert not promised - there


def test_there_are_attacks_of_its_own():
    """More than twenty attacks aim at this sandbox's own design."""
    assert len([entry for entry in CATALOGUE if entry.kind is Kind.OWN]) > 20


FORGERY = Entry("x", Kind.FORGE, "", (), frozenset({Status.PASS}), frozenset({Status.FAIL, Status.TIMEOUT}), QUICK)


def test_full_tier_follows_from_the_other_two():
    """What passes the screen and fails the split verdict is disputed; a limit is a limit; the rest is the screen's."""
    mixed = replace(FORGERY, screen=frozenset({Status.PASS, Status.ERROR}))
    assert FORGERY.allowed(Tier.FULL) == {Status.DISPUTED, Status.TIMEOUT}
    assert mixed.allowed(Tier.FULL) == {Status.DISPUTED, Status.TIMEOUT, Status.ERROR}
    assert replace(FORGERY, screen=frozenset({Status.ERROR})).allowed(Tier.FULL) == {Status.ERROR}


@pytest.mark.parametrize(
    ("kind", "status", "seconds", "left", "fault"),
    [
        (Kind.FORGE, Status.PASS, 0.1, "", Fault.FORGED),
        (Kind.OWN, Status.PASS_WEAK, 0.1, "", Fault.FORGED),
        (Kind.READ, Status.PASS, 0.1, "", Fault.ESCAPED),
        (Kind.MUST_PASS, Status.ERROR, 0.1, "", Fault.WRONGLY_FAILED),
        (Kind.HANG, Status.ERROR, 0.1, "", Fault.MISJUDGED),
        (Kind.HANG, Status.TIMEOUT, 99.0, "", Fault.HUNG),
        (Kind.HANG, Status.TIMEOUT, 0.1, "1 file", Fault.LEFT_BEHIND),
        (Kind.HANG, Status.TIMEOUT, 0.1, "", Fault.NONE),
    ],
)
def test_faults_are_told_apart(kind, status, seconds, left, fault):
    """A pass that must not be is forged or an escape, a failure of what is right is a wrong failure, and so on."""
    entry = replace(FORGERY, kind=kind)
    assert judge(entry, Tier.SPLIT, Verdict(status, ()), seconds, left) is fault


def test_refusal_for_another_reason_is_misjudged():
    """An attack has to fail for the reason that its entry names, or it proves nothing."""
    entry = replace(FORGERY, says="PermissionError")
    assert judge(entry, Tier.SPLIT, Verdict(Status.FAIL, (), "NameError: x"), 0.1, "") is Fault.MISJUDGED


def test_traces_are_told():
    """More processes, descriptors, mounts or files than before are named; fewer are none."""
    before = Traces(True, 2, 9, 20, ())
    assert left_behind(before, replace(before, processes=1)) == ""
    assert left_behind(before, replace(before, processes=3)) == "3 processes instead of 2"
    assert left_behind(before, replace(before, files=("x",))) == "files ['x']"
    assert left_behind(before, replace(before, alive=False)) == "the worker did not survive it"


def test_summary_counts_faults():
    """The last line counts what matters always, and what is rare where there is any."""
    right = Outcome(FORGERY, Tier.FULL, None, 0.1, Fault.NONE, "")
    line = summary([right, right, replace(right, fault=Fault.BROKE)], 20.4)
    assert line == ("catalogue: 3 programs in 20 s: 0 forged, 0 escaped, 0 hung, 0 wrongly failed, 1 broke the sandbox")


def test_quick_selection_is_a_part():
    """`--quick` leaves out every hang, and keeps the forgeries."""
    quick, all_ = selection("L0", quick=True), selection("L0", quick=False)
    assert {entry.kind for entry in quick} >= {Kind.FORGE, Kind.READ, Kind.OWN}
    assert not [entry for entry in quick if entry.kind is Kind.HANG]
    assert len(quick) < len(all_)


def test_text_of_a_program_is_harmless_to_a_terminal():
    """Control characters that a program put into a message are shown, not sent."""
    assert printable("\x1b[2J\x07größe\n\ud800") == r"\x1b[2J\x07größe\n\ud800"


def test_entries_are_limited():
    """No entry may use more than a few seconds."""
    assert not [entry.title for entry in CATALOGUE if entry.limits.wall_seconds > Limits().wall_seconds]
