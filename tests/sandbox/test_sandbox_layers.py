"""Each layer of the fence is needed: an attack gets through without it, and not with it."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from sandbox import Job, Limits, Pool, Tier
from sandbox.pool import LAYERS

ROOMY = Limits(cpu_seconds=2.0, wall_seconds=10.0)


@dataclass(frozen=True)
class Target:
    """What an attack is aimed at, all of it the test's own: a file that anybody may read, a UDP port."""

    file: Path
    port: int


@dataclass(frozen=True)
class Attack:
    """`program` defines `attack()`, which returns only if it got through."""

    layer: str
    level: str
    program: Callable[[Target], str]
    limits: Limits = ROOMY


def fixed(program: str) -> Callable[[Target], str]:
    return lambda target: program


ATTACKS = [
    Attack("namespaces", "L0", fixed("import os\ndef attack(): return os.stat('/etc/hostname')")),
    Attack(
        "pids",
        "L0",
        fixed("import os\ndef attack():\n    if os.getppid() == 0: raise LookupError\n    return os.getppid()"),
    ),
    Attack("identity", "L0", fixed("import os\ndef attack(): os.chmod('.', 0o1777)")),
    Attack("landlock", "L1", lambda target: f"def attack(): return open({str(target.file)!r}).read()"),
    Attack(
        "filter",
        "L1",
        lambda target: (
            "import socket\ndef attack():\n"
            f"    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'out', ('127.0.0.1', {target.port}))"
        ),
    ),
    Attack(
        "child-filter",
        "L0",
        fixed("import os\ndef attack():\n    if os.fork() == 0: os._exit(0)\n    os.wait()"),
    ),
    Attack("rlimits", "L0", fixed("def attack(): return len(bytearray(700 << 20))")),
    Attack(
        "clock",
        "L0",
        fixed("import time\ndef attack():\n    while time.process_time() < 1.2: pass"),
        Limits(cpu_seconds=0.4, wall_seconds=10.0),
    ),
    Attack(
        "output",
        "L0",
        fixed("def attack():\n    for _ in range(300): print('x' * 10_000)"),
        Limits(output_kb=100),
    ),
]


@pytest.fixture
def target() -> Iterator[Target]:
    """A file and a port of this test; not in a folder of pytest's, where nobody else may look."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        Path(folder).chmod(0o755)
        file = Path(folder) / "readable"
        file.write_text("mine")
        receiver.bind(("127.0.0.1", 0))
        yield Target(file, receiver.getsockname()[1])


async def gets_through(attack: Attack, target: Target, without: frozenset[str]) -> bool:
    job = Job(f"{dedent(attack.program(target))}\n", ("attack()",), attack.limits, tier=Tier.SCREEN)
    levels = (attack.level,) if attack.layer != "namespaces" else ("L0", "L1")
    async with Pool(workers=1, levels=levels, without=without) as pool:
        return (await pool.run(job)).passed


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.layer)
async def test_layer_is_needed(attack, target):
    """An attack that the whole fence stops gets through once one layer is left out."""
    if attack.layer == "identity" and os.geteuid() != 0:
        pytest.skip("only root can run programs as somebody else")
    assert await gets_through(attack, target, frozenset({attack.layer}))
    assert not await gets_through(attack, target, frozenset())


def test_every_layer_has_its_attack():
    """There is an attack for each layer that can be left out."""
    assert {attack.layer for attack in ATTACKS} == LAYERS


async def test_level_without_a_layer_is_unsafe():
    """A pool with a layer left out does not claim a level."""
    async with Pool(workers=1, without=frozenset({"output"})) as pool:
        assert pool.level == "unsafe"
