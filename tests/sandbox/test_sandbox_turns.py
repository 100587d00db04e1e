"""Jobs in line for the pool's workers."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sandbox.ahead import Ticket
from sandbox.turns import Turns


class Line:
    """Rooms, and the programs that were handed ahead."""

    def __init__(self, ahead, rooms=()):
        self.waiting = {}
        self.expected = []
        self.turns = Turns(self.expect, ahead)
        for room in rooms:
            self.turns.free(room)

    def expect(self, source):
        self.expected.append(source)
        ticket = Ticket(source, self.waiting)
        self.waiting[ticket] = None
        return ticket

    async def queue(self, *names):
        """A task for each job, all of them waiting."""
        tasks = [asyncio.create_task(self.turns.wait(lambda name=name: name)) for name in names]
        await settle()
        return tasks


async def settle():
    """Everything that can happen has happened."""
    for _ in range(5):
        await asyncio.sleep(0)


def holds(task):
    """The room that a job has; None while it waits, or if it gave up."""
    return task.result()[0] if task.done() and not task.cancelled() else None


async def test_first_come_first_served():
    """Room goes to jobs in the order in which they came."""
    line = Line(2, rooms=["a"])
    tasks = await line.queue(b"1", b"2", b"3")
    line.turns.free("b")
    await settle()
    assert [holds(task) for task in tasks] == ["a", "b", None]
    line.turns.free("c")
    await settle()
    assert holds(tasks[2]) == "c"


async def test_only_the_next_in_line_are_handed_ahead():
    """The programs of the next two are known ahead, one more with each turn; one that has room at once never is."""
    line = Line(2, rooms=["a"])
    await line.queue(b"0", b"1", b"2", b"3", b"4")
    assert line.expected == [b"1", b"2"]
    line.turns.free("b")
    await settle()
    assert line.expected == [b"1", b"2", b"3"]
    assert [ticket.source for ticket in line.waiting] == [b"2", b"3"]


async def test_room_that_came_to_a_cancelled_job_goes_on():
    """A job that is cancelled between its turn and its waking hands its room to the next."""
    line = Line(2)
    first, second = await line.queue(b"1", b"2")
    line.turns.free("a")
    first.cancel()
    await settle()
    assert first.cancelled()
    assert holds(second) == "a"


@given(st.lists(st.sampled_from(["come", "go", "cancel", "wait"]), max_size=60), st.integers(1, 3), st.integers(1, 3))
def test_no_room_is_lost_or_given_twice(steps, count, ahead):
    """Whatever comes, goes and is cancelled, at whatever moment: each room is idle or one job's, and no job waits
    beside an idle one.
    """

    async def play():
        rooms = list(range(count))
        line, tasks, over = Line(ahead, rooms), [], set()
        for step in steps:
            busy = [task for task in tasks if holds(task) is not None and task not in over]
            if step == "come":
                tasks.append(asyncio.create_task(line.turns.wait(lambda: b"")))
            elif step == "go" and busy:
                over.add(busy[0])
                line.turns.free(holds(busy[0]))
            elif step == "cancel" and tasks:
                tasks[-1].cancel()
            elif step == "wait":
                await settle()
        await settle()
        held = [holds(task) for task in tasks if holds(task) is not None and task not in over]
        waiting = [task for task in tasks if not task.done()]
        late = await line.queue(*[b""] * count)
        idle = [holds(task) for task in late if holds(task) is not None]
        assert sorted(held + idle) == rooms
        assert not (waiting and idle)
        for task in [*waiting, *late]:
            task.cancel()
        await settle()
        assert not line.waiting

    asyncio.run(play())
