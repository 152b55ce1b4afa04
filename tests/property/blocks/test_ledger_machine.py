"""Anything may happen to a pool, in any order: its book stays consistent."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from blockyard.blocks import errors
from blockyard.blocks.errors import ErrorLimits
from blockyard.blocks.faults import ScalingRefused
from blockyard.blocks.ledger import Cancel, Changed, Drain, Effect, GiveUp, Gone, Launch
from blockyard.blocks.scaling import BlockLoad, Demand, auto
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.ids import BlockId
from tests.unit.blocks.builders import EXITED, FAILED, ledger, load


class PoolLife(RuleBasedStateMachine):
    """Anything may happen to a pool, in any order; the book stays consistent and never asks for the impossible."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jobs: dict[JobId, BlockId] = {}
        self.loads: dict[BlockId, BlockLoad] = {}
        self.cancelled: set[JobId] = set()
        self.gone: list[BlockId] = []
        self.names: list[BlockId] = []
        self.queued = 0.0
        self.closed = False

    @initialize(
        minimum=st.integers(0, 2),
        more=st.integers(0, 3),
        walltime=st.sampled_from([None, 50.0]),
        handler=st.sampled_from([errors.none, errors.breaker]),
    )
    def open(self, minimum: int, more: int, walltime: float | None, handler: errors.ErrorHandler) -> None:
        self.handler = handler
        self.maximum = max(1, minimum + more)
        self.book = ledger(
            min_blocks=minimum,
            max_blocks=self.maximum,
            init_blocks=self.maximum,
            idle_timeout=5.0,
            strategy=auto,
            walltime=walltime,
            drain_timeout=8.0,
            register_timeout=20.0,
        )
        self.carry_out(self.book.open(self.now))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Launch(block=block):
                    assert block not in self.names, "a name came twice"
                    self.names.append(block)
                    job = JobId(f"j-{block}")
                    self.jobs[job] = block
                    self.book.launched(block, job)
                case Drain(blocks=blocks, grace=grace):
                    assert grace >= 0
                    assert set(blocks) <= set(self.loads), "only what has managers can be drained"
                case Cancel(jobs=jobs):
                    assert set(jobs) <= set(self.jobs), "an ended job cannot be cancelled"
                    assert not set(jobs) & self.cancelled, "once is enough"
                    self.cancelled |= set(jobs)
                case Gone(block=block, status=status):
                    assert status.terminal
                    assert block not in self.gone
                    self.gone.append(block)
                case Changed(status=status):
                    assert not status.terminal
                case GiveUp():
                    raise AssertionError("neither handler gives up")

    def push_demand(self) -> None:
        running_slots = sum(one.busy for one in self.loads.values())
        demand = Demand(queued_slots=self.queued, running_slots=running_slots, loads=tuple(self.loads.values()))
        self.book.demanded(demand, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0, 30.0]))
    def time_passes_and_plans_are_carried_out(self, seconds: float) -> None:
        self.now += seconds
        verdict = self.handler(self.book.history(self.now), ErrorLimits(), self.now)
        self.carry_out(self.book.upkeep(self.now))
        self.carry_out(self.book.plan(verdict, self.now).effects)
        assert self.book.upkeep(self.now) == [], "a repeat changes nothing"
        again = self.book.plan(verdict, self.now)
        assert again.effects == (), "a repeat changes nothing"
        assert again.wake_at is None or again.wake_at > self.now, "it would spin"
        due = self.book.next_due()
        assert due is None or due > self.now, "it would spin"

    @rule(slots=st.sampled_from([0.0, 1.0, 3.0, 50.0]))
    def demand_changes(self, slots: float) -> None:
        self.queued = slots
        self.push_demand()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), state=st.sampled_from([JobState.RUNNING, JobState.HELD, JobState.UNKNOWN]))
    def the_provider_reports_a_living_state(self, data: st.DataObject, state: JobState) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        self.carry_out(self.book.reported(job, JobStatus(state=state), self.now))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), end=st.sampled_from([FAILED, EXITED, JobStatus(state=JobState.CANCELLED)]))
    def the_provider_reports_an_end(self, data: st.DataObject, end: JobStatus) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        block = self.jobs.pop(job)
        self.loads.pop(block, None)
        self.carry_out(self.book.reported(job, end, self.now))
        assert self.gone[-1] == block
        assert self.book.reported(job, end, self.now) == []

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), busy=st.sampled_from([0.0, 1.0]), done=st.integers(0, 3))
    def a_manager_registers_or_changes(self, data: st.DataObject, busy: float, done: int) -> None:
        block = data.draw(st.sampled_from(sorted(self.jobs.values())))
        self.loads[block] = load(block, busy, self.now, done)
        self.push_demand()

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def a_manager_goes_silent(self, data: st.DataObject) -> None:
        del self.loads[data.draw(st.sampled_from(sorted(self.loads)))]
        self.push_demand()

    @rule(count=st.integers(0, 3))
    def a_user_scales_in(self, count: int) -> None:
        _, effects = self.book.scale_in(count, self.now)
        self.carry_out(effects)

    @rule(count=st.integers(0, 3))
    def a_user_scales_out(self, count: int) -> None:
        try:
            effects = self.book.scale_out(count, self.now)
        except ScalingRefused:
            assert self.closed or len(self.book.living) + count > self.maximum
            return
        self.carry_out(effects)

    @precondition(lambda self: not self.closed)
    @rule(really=st.integers(0, 9))
    def the_pool_closes(self, really: int) -> None:
        if really == 0:
            self.closed = True
            self.carry_out(self.book.close(self.now))

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "book"):
            return
        assert set(self.book.living) == set(self.jobs.values())
        assert set(self.book.jobs()) == set(self.jobs)
        assert len(self.book.living) <= self.maximum
        assert not set(self.book.living) & set(self.book.ended)
        assert all(not block.status.terminal for block in self.book.living.values())
        assert all(status.terminal for status in self.book.ended.values())
        if self.closed:
            assert set(self.jobs) <= self.cancelled


PoolLife.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestPoolLife = PoolLife.TestCase
