"""Whatever happened, and whatever compaction rewrote: another process reads the same state from the journal.

Modulo leases: what was handed out is queued again, or set aside when it may run once only.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from blockyard.wire import client as client_wire
from blockyard.wire.records import Assigned, Blob, Body, Status, Trigger
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.state import Flag, State, Task, TaskState
from tests.machine import Size
from tests.machine import size as size_of_this_run
from tests.unit.interchange.builders import Bench, a_function, a_spec, done, ended, joined

EXAMPLES = {Size.SMALL: 300, Size.FULL: 5_000}
LASTING = Flag.COLLECTED | Flag.KEYED | Flag.SHADOW | Flag.CHILD | Flag.GANG


def picture(state: State) -> dict[str, Any]:
    """What must be the same."""
    return {
        "tasks": {task.id: picture_of(task) for task in state.tasks.values()},
        "sessions": {
            name: (session.accepted, session.next_number, session.tasks, session.bytes, session.keep, session.user)
            for name, session in state.sessions.items()
            if session.token or session.tasks  # the inner one for what joined is made again when it is needed
        },
        "owners": {name: (run.owner, run.epoch, run.sessions) for name, run in state.runs.items()},
        "keys": dict(state.keys),
        "bytes": state.bytes,
        "counters": {
            name: (pool.counters.submitted, pool.counters.done, pool.counters.failed, pool.counters.cancelled)
            for name, pool in state.pools.items()
        },
    }


def picture_of(task: Task) -> tuple[Any, ...]:
    phase = task.state.name if task.state in {TaskState.ENDED, TaskState.JOINING} else "to be run"
    # Collected, and kept because another task needs it: the journal does not know, its owner will say so again.
    flags = task.flags & LASTING if task.flags & Flag.CHILD else task.flags & LASTING & ~Flag.COLLECTED
    return (
        phase,
        task.waiting if task.outcome is None else 0,
        [need.id for need in task.needs],
        task.users,
        task.body,
        task.outcome,
        (task.failures, task.losses) if task.outcome is None else (),
        int(flags),
        task.order.pool.name,
        task.order.spec,
        task.order.at,
    )


class JournalMachine(RuleBasedStateMachine):
    """Clients, a manager, compaction and restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()}, client_grace=1e9)
        self.client = self.bench.client(1, "f", run="r", keep=True)
        self.manager = self.bench.manager("m", workers=3)
        self.held: list[Assigned] = []
        self.mine: list[int] = []
        self.blobs = 0

    def _turn(self, seconds: float = 0.0) -> None:
        self.bench.turn(seconds)
        self.held += self.manager.assigned()

    @rule(
        count=st.integers(1, 4),
        pool=st.sampled_from(["default", "default", "other"]),
        once=st.booleans(),
        key=st.sampled_from(["", "", "a", "b"]),
        trigger=st.sampled_from([Trigger.ALL_SUCCESS, Trigger.ALL_SUCCESS, *Trigger]),
        data=st.data(),
    )
    def submit(self, count: int, pool: str, once: bool, key: str, trigger: Trigger, data: st.DataObject) -> None:
        needs = data.draw(st.lists(st.sampled_from(self.mine[-8:]), max_size=3)) if self.mine else []
        spec = a_spec(pool=pool, idempotent=not once, retries=2, trigger=trigger)
        bodies: list[Body] = [Blob(f"blob-{self.blobs}", 9), *([b"body"] * (count - 1))]
        self.blobs += 1
        keys = [key] + [""] * (count - 1) if key else ()
        self.mine += self.client.call(spec, bodies, needs=[needs] * count if needs else (), keys=keys)
        self._turn()

    @precondition(lambda self: self.held)
    @rule(how=st.sampled_from(["done", "done", "raised", "lost", "join", "join of nothing"]), data=st.data())
    def report(self, how: str, data: st.DataObject) -> None:
        one = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        match how:
            case "done":
                self.manager.report(done(one, b"result"))
            case "raised":
                self.manager.report(ended(one, Status.RAISED))
            case "lost":
                self.manager.report(ended(one, Status.LOST))
            case "join":
                self.manager.report(joined(one, b"1", b"2"))
            case _:
                self.manager.report(joined(one))
        self._turn()

    @precondition(lambda self: self.mine)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.client.say(client_wire.Cancel([data.draw(st.sampled_from(self.mine))]))
        self._turn()

    @rule(share=st.integers(1, 3))
    def collect(self, share: int) -> None:
        told = [outcome.task for outcome in self.client.outcomes()]
        self.client.collect(told[::share], frames=50)
        self._turn()

    @rule()
    def compact_the_oldest(self) -> None:
        self._turn()
        self.bench.compact_oldest()

    @rule()
    def compact_everything(self) -> None:
        self.bench.compact_all()

    @rule()
    def restart(self) -> None:
        self._turn()
        before = picture(self.bench.state)
        self.bench.restart()
        after = picture(self.bench.state)
        for table, was in before.items():
            assert after[table] == was, table
        assert set(before["tasks"]) == set(after["tasks"])
        self.client.say(self.client.hello)
        self.client.say(client_wire.Register([a_function()]))
        self.manager.say(self.manager.join)
        self.held.clear()
        self._turn()

    def teardown(self) -> None:
        self.restart()


JournalMachine.TestCase.settings = settings(
    max_examples=EXAMPLES[size_of_this_run()], stateful_step_count=25, deadline=None, report_multiple_bugs=False
)
TestJournal = JournalMachine.TestCase
