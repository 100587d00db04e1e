"""A fleet gives each piece of work to whoever can do it, and loses none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import EngineUnavailable
from datagen.fleet import AllLost, Fleet, Lost, Pace

QUICK = Pace(first=0.001, longest=0.01, every=0.02, answer=0.02, patience=0.3)


@dataclass
class Worker:
    """Works as long as nobody says otherwise: `fails` is what its next pieces end with, `ill` what its checks do."""

    name: str = "w"
    ill: Exception | None = None
    fails: list[Exception] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    stuck: bool = False
    checks: int = 0

    async def check(self) -> None:
        self.checks += 1
        while self.stuck:
            await asyncio.sleep(0.001)
        if self.ill is not None:
            raise self.ill

    async def work(self, piece: int) -> int:
        await asyncio.sleep(0)
        while self.stuck:
            await asyncio.sleep(0.001)
        if self.fails:
            raise self.fails.pop(0)
        self.done.append(piece)
        return piece


async def results(fleet: Fleet[Worker], pieces: range) -> list[int]:
    return await asyncio.gather(*(fleet.ask(lambda worker, piece=piece: worker.work(piece)) for piece in pieces))


def quiet(workers: list[Worker], said: list[str] | None = None, **options) -> Fleet[Worker]:
    return Fleet(workers, pace=QUICK, say=([] if said is None else said).append, **options)


async def test_who_has_least_in_hand_is_asked():
    """Ten pieces at once over two members are five for each."""
    workers = [Worker("a"), Worker("b")]
    fleet = quiet(workers)
    await fleet.ready(everyone=True)
    await results(fleet, range(10))
    assert [len(worker.done) for worker in workers] == [5, 5]
    await fleet.close()


@given(fails=st.lists(st.lists(st.just(None), max_size=3), min_size=2, max_size=4))
@settings(deadline=None, max_examples=25)
def test_every_piece_is_done_once_whoever_fails(fails):
    """However often members are lost in the middle of their work, each piece has one answer, its own."""

    async def claim() -> None:
        workers = [Worker(str(index), fails=[Lost("gone") for _ in each]) for index, each in enumerate(fails)]
        fleet = quiet(workers, tries=20)
        await fleet.ready()
        assert await results(fleet, range(30)) == list(range(30))
        assert sorted(piece for worker in workers for piece in worker.done) == list(range(30))
        await fleet.close()

    asyncio.run(claim())


async def test_a_lost_member_comes_back():
    """Work returns to a member once its check passes; both moments are told."""
    one, other, said = Worker("one"), Worker("other"), []
    fleet = quiet([one, other], said)
    await fleet.ready(everyone=True)
    one.ill, one.fails = Lost("still gone"), [Lost("gone")]
    await results(fleet, range(4))
    before = len(one.done)
    await results(fleet, range(4))
    assert len(one.done) == before
    one.ill = None
    await asyncio.sleep(0.1)
    await results(fleet, range(4))
    assert len(one.done) > before
    assert said == ["one: lost (gone); 1 of 2 at work", "one: back; 2 of 2 at work"]
    await fleet.close()


async def test_a_member_that_hangs_loses_its_work_to_others():
    """One that has work and answers no check is lost, and what it had in hand is done elsewhere."""
    one, other = Worker("one"), Worker("other")
    fleet = quiet([one, other])
    await fleet.ready(everyone=True)
    one.stuck = True
    assert await asyncio.wait_for(results(fleet, range(6)), 5) == list(range(6))
    assert one.done == []
    await fleet.close()


async def test_who_wants_to_be_left_alone_keeps_what_it_has():
    """A member that asks to wait gets nothing for so long; it is not told as lost."""
    one, other, said = Worker("one", fails=[Lost("busy", wait=0.2)]), Worker("other"), []
    fleet = quiet([one, other], said)
    await fleet.ready(everyone=True)
    await results(fleet, range(6))
    assert 0 < len(one.done) < 3 and not said  # its other pieces of the first round ended well
    before = len(one.done)
    await results(fleet, range(6))
    assert len(one.done) == before
    await fleet.close()


async def test_a_piece_that_nobody_can_do_is_given_up():
    """After `tries` members in a row the piece is Lost; the next piece is done."""
    fleet = quiet([Worker("a", fails=[Lost("x")] * 9), Worker("b", fails=[Lost("x")] * 9)], tries=3)
    await fleet.ready(everyone=True)
    with pytest.raises(Lost):
        await results(fleet, range(1))
    await fleet.close()


async def test_without_any_member_the_fleet_gives_up_after_its_patience():
    """Where all are lost and none comes back: AllLost."""
    one = Worker("one")
    fleet = quiet([one])
    await fleet.ready()
    one.ill, one.fails = Lost("gone"), [Lost("gone")]
    with pytest.raises(AllLost):
        await results(fleet, range(1))
    await fleet.close()


async def test_a_failure_for_good_takes_its_member_out():
    """A DatagenError ends a member for the run, not the run; that of the last one comes out."""
    refused = EngineUnavailable("the key was not accepted")
    one, other = Worker("one", fails=[refused]), Worker("other")
    fleet = quiet([one, other])
    await fleet.ready(everyone=True)
    await results(fleet, range(4))
    assert fleet.members == [other]
    other.fails = [refused]
    with pytest.raises(EngineUnavailable):
        await results(fleet, range(1))
    await fleet.close()


async def test_ready_says_what_is_wrong_at_the_start():
    """A check that fails for good comes out of `ready`; members that are merely away do not keep it waiting."""
    with pytest.raises(EngineUnavailable):
        await quiet([Worker(ill=EngineUnavailable("another model")), Worker()]).ready(everyone=True)
    with pytest.raises(AllLost):
        await quiet([Worker(ill=Lost("away"))]).ready()
    fleet = quiet([Worker(ill=Lost("away")), Worker()])
    await fleet.ready(everyone=True)
    assert await results(fleet, range(3)) == [0, 1, 2]
    await fleet.close()


async def test_members_may_come_and_go():
    """One that is added takes work; one that is removed leaves what it had to others."""
    one, other = Worker("one"), Worker("other")
    fleet = quiet([one])
    await fleet.ready()
    one.stuck = True
    asked = asyncio.ensure_future(results(fleet, range(3)))
    await asyncio.sleep(0.005)
    fleet.add(other)
    fleet.remove(one)
    assert await asyncio.wait_for(asked, 5) == [0, 1, 2]
    assert sorted(other.done) == [0, 1, 2]
    await fleet.close()


async def test_a_mistake_in_a_check_is_not_a_loss():
    """What a check should never raise comes out of `ready`, or of what is asked next, and nobody waits for ever."""
    with pytest.raises(KeyError):
        await quiet([Worker(ill=KeyError("ours")), Worker(stuck=True)]).ready()
    one = Worker()
    fleet = quiet([one])
    await fleet.ready()
    one.ill, one.fails = KeyError("ours"), [Lost("gone")]
    with pytest.raises(KeyError):
        await results(fleet, range(1))
    await fleet.close()
