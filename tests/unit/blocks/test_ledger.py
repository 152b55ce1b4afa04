"""The book of a pool's blocks: every event with its instant, every effect accounted for."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from blockyard.blocks import errors
from blockyard.blocks.errors import CarryOn, ErrorLimits, FailAll, PauseUntil
from blockyard.blocks.faults import IllegalTransition, ScalingRefused
from blockyard.blocks.ledger import (
    PROOF_SECONDS,
    REMEMBERED,
    STUMBLE_SECONDS,
    BlockLedger,
    Cancel,
    Changed,
    Drain,
    Effect,
    GiveUp,
    Gone,
    Launch,
    Terms,
)
from blockyard.blocks.scaling import BlockLoad, Demand, Policy, auto, none
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.ids import BlockId

B0, B1 = BlockId("0"), BlockId("1")
RUNNING = JobStatus(state=JobState.RUNNING, started_at=1.0)
EXITED = JobStatus(state=JobState.COMPLETED, exit_code=0, ended_at=2.0)
FAILED = JobStatus(state=JobState.FAILED, exit_code=1, ended_at=2.0, message="exit code 1", log_tail="words")


def ledger(**more: Any) -> BlockLedger:
    """A ledger that names its blocks 0, 1, …; policy fields and terms by name."""
    policy = Policy(
        **{"max_blocks": 4, **{key: more.pop(key) for key in list(more) if key in Policy.__struct_fields__}}
    )
    terms = Terms(policy=policy, strategy=more.pop("strategy", none), **more)
    return BlockLedger(terms, lambda number: BlockId(str(number)))


def launched(book: BlockLedger, effects: Sequence[Effect]) -> list[BlockId]:
    """Let the provider take every block that is to be launched; its job is called j-BLOCK."""
    names = [effect.block for effect in effects if isinstance(effect, Launch)]
    for name in names:
        book.launched(name, JobId(f"j-{name}"))
    return names


def running(book: BlockLedger, count: int, now: float = 0.0) -> list[BlockId]:
    """Start blocks by hand and let them run."""
    names = launched(book, book.scale_out(count, now))
    for name in names:
        assert book.reported(JobId(f"j-{name}"), RUNNING, now) == [Changed(name, RUNNING)]
    return names


def load(name: str, busy: float = 0.0, since: float = 0.0, done: int = 0) -> BlockLoad:
    idle_since = None if busy else since
    return BlockLoad(block=BlockId(name), managers=1, slots=1, busy=busy, idle_since=idle_since, done=done)


def registered(book: BlockLedger, names: Sequence[str], now: float = 0.0, busy: float = 0.0) -> None:
    book.demanded(Demand(running_slots=busy * len(names), loads=tuple(load(name, busy, now) for name in names)), now)


def effects_of(book: BlockLedger, now: float) -> tuple[Effect, ...]:
    return (*book.upkeep(now), *book.plan(CarryOn(), now).effects)


def test_the_pool_opens_with_its_initial_blocks() -> None:
    book = ledger(init_blocks=2, min_blocks=1)
    assert book.open(0.0) == [Launch(BlockId("0")), Launch(BlockId("1"))]
    assert [status.state for status in book.status().values()] == [JobState.PENDING] * 2
    assert effects_of(book, 0.0) == ()


def test_what_is_scaled_in_is_drained_first_and_then_cancelled_at_its_deadline() -> None:
    book = ledger(drain_timeout=10.0)
    names = running(book, 2)
    registered(book, names, busy=1.0)
    assert book.scale_in([B0], 5.0) == (["0"], [Drain((BlockId("0"),), 10.0)])
    assert book.next_due() == 15.0
    assert effects_of(book, 14.9) == ()
    assert effects_of(book, 15.0) == (Cancel((JobId("j-0"),)),)
    assert effects_of(book, 15.0) == ()
    end = book.reported(JobId("j-0"), FAILED, 15.1)
    assert isinstance(end[0], Gone)
    assert (end[0].status.state, end[0].status.exit_code) == (JobState.SCALED_IN, 1)
    assert "FAILED: exit code 1" in end[0].status.message


def test_a_block_without_manager_is_cancelled_at_once() -> None:
    book = ledger()
    running(book, 1)
    assert book.scale_in(1, 5.0) == (["0"], [Cancel((JobId("j-0"),))])
    assert book.scale_in([B0], 6.0) == ([], []), "it is being ended already"


def test_a_block_given_up_before_the_provider_took_it_is_cancelled_when_it_has() -> None:
    book = ledger()
    (launch,) = book.scale_out(1, 0.0)
    assert book.scale_in(1, 0.0) == (["0"], [])
    launched(book, [launch])
    assert effects_of(book, 0.0) == (Cancel((JobId("j-0"),)),)


def test_an_end_before_any_manager_registered_is_missing_with_the_providers_evidence() -> None:
    book = ledger()
    running(book, 2)
    for job, end in (("j-0", FAILED), ("j-1", EXITED)):
        (gone,) = book.reported(JobId(job), end, 3.0)
        assert isinstance(gone, Gone)
        assert (gone.status.state, gone.status.reason) == (JobState.MISSING, "NeverRegistered")
        assert (gone.status.exit_code, gone.status.log_tail) == (end.exit_code, end.log_tail)


@pytest.mark.parametrize(
    "end",
    [
        FAILED,
        EXITED,
        JobStatus(state=JobState.CANCELLED),
        JobStatus(state=JobState.TIMEOUT),
        JobStatus(state=JobState.MISSING, reason="LinkLost"),
    ],
)
def test_an_end_after_registration_is_what_the_provider_says(end: JobStatus) -> None:
    book = ledger()
    registered(book, running(book, 1))
    (gone,) = book.reported(JobId("j-0"), end, 3.0)
    assert isinstance(gone, Gone)
    assert gone.status == msgspec.structs.replace(end, started_at=1.0)


def test_a_report_that_cannot_be_is_refused_and_changes_nothing() -> None:
    book = ledger()
    running(book, 1)
    before = book.status()
    with pytest.raises(IllegalTransition):
        book.reported(JobId("j-0"), JobStatus(state=JobState.PENDING), 1.0)
    assert book.status() == before
    book.reported(JobId("j-0"), EXITED, 2.0)
    assert book.reported(JobId("j-0"), RUNNING, 3.0) == [], "of an ended job nothing more is wanted"


def test_a_block_that_no_manager_registers_for_is_given_up() -> None:
    book = ledger(register_timeout=60.0)
    running(book, 1, now=10.0)
    assert book.next_due() == 70.0
    assert effects_of(book, 70.0) == (Cancel((JobId("j-0"),)),)
    (gone,) = book.reported(JobId("j-0"), JobStatus(state=JobState.CANCELLED), 71.0)
    assert isinstance(gone, Gone)
    assert (gone.status.state, gone.status.reason) == (JobState.MISSING, "NoManager")


def test_a_block_whose_managers_went_silent_is_given_up_but_not_when_they_come_back() -> None:
    book = ledger(register_timeout=60.0)
    registered(book, running(book, 1), now=5.0)
    registered(book, [], now=100.0)
    registered(book, ["0"], now=150.0)
    assert effects_of(book, 200.0) == ()
    registered(book, [], now=300.0)
    assert effects_of(book, 359.0) == ()
    assert effects_of(book, 360.0) == (Cancel((JobId("j-0"),)),)


def test_a_block_waits_in_the_queue_of_its_provider_for_as_long_as_it_takes() -> None:
    book = ledger(register_timeout=60.0)
    launched(book, book.scale_out(1, 0.0))
    assert effects_of(book, 10_000.0) == ()


def test_a_block_is_drained_in_time_for_its_walltime() -> None:
    book = ledger(walltime=100.0, drain_timeout=30.0)
    registered(book, running(book, 1, now=10.0), now=11.0, busy=1.0)
    assert book.next_due() == 80.0
    assert effects_of(book, 80.0) == (Drain((BlockId("0"),), 30.0),)
    (gone,) = book.reported(JobId("j-0"), EXITED, 90.0)
    assert isinstance(gone, Gone)
    assert (gone.status.state, gone.status.reason) == (JobState.TIMEOUT, "Walltime")


def test_a_walltime_that_ended_unseen_leaves_no_time() -> None:
    book = ledger(walltime=50.0, drain_timeout=8.0)
    registered(book, running(book, 1, now=0.0), now=1.0, busy=1.0)
    assert effects_of(book, 60.0) == (Drain((BlockId("0"),), 0.0), Cancel((JobId("j-0"),)))  # the machine slept


def test_a_lost_block_is_replaced_in_the_same_breath() -> None:
    book = ledger(min_blocks=1)
    registered(book, launched(book, book.open(0.0)))
    book.reported(JobId("j-0"), RUNNING, 0.0)
    book.reported(JobId("j-0"), FAILED, 50.0)
    assert effects_of(book, 50.0) == (Launch(BlockId("1")),)


def test_a_block_that_ended_at_once_is_not_replaced_in_the_same_breath() -> None:
    book = ledger(min_blocks=1)
    launched(book, book.open(0.0))
    book.reported(JobId("j-0"), FAILED, 1.0)
    plan = book.plan(CarryOn(), 1.0)
    assert (plan.effects, plan.wake_at) == ((), 1.0 + STUMBLE_SECONDS)
    assert effects_of(book, 1.0 + STUMBLE_SECONDS) == (Launch(BlockId("1")),)


def test_a_refused_block_has_an_end_like_any_other() -> None:
    book = ledger(min_blocks=1)
    (launch,) = book.open(0.0)
    assert isinstance(launch, Launch)
    refusal = JobStatus(state=JobState.FAILED, reason="SubmitFailed", message="quota")
    assert book.refused(launch.block, refusal, 0.0) == [Gone(launch.block, refusal, None)]
    assert book.history(0.0).bad == 1
    assert book.living == {}


def test_a_pause_holds_starts_back_and_nothing_else() -> None:
    book = ledger(min_blocks=1, drain_timeout=5.0)
    registered(book, running(book, 2), busy=1.0)
    book.scale_in([B0, B1], 0.0)
    assert book.upkeep(5.0) == [Cancel((JobId("j-0"), JobId("j-1")))]
    plan = book.plan(PauseUntil(9.0, "bad"), 5.0)
    assert (plan.effects, plan.wake_at) == ((), 9.0)
    assert Launch(BlockId("2")) in effects_of(book, 9.0)


def test_a_half_closed_breaker_lets_one_unproved_block_try_at_a_time() -> None:
    book = ledger(min_blocks=3)
    first = book.plan(CarryOn(at_most=1), 0.0)
    assert first.effects == (Launch(BlockId("0")),)
    launched(book, first.effects)
    assert book.plan(CarryOn(at_most=1), 1.0).effects == ()
    book.reported(JobId("j-0"), RUNNING, 1.0)
    registered(book, ["0"], now=1.0)
    assert book.plan(CarryOn(at_most=1), 1.5).wake_at == 1.0 + PROOF_SECONDS
    assert book.history(1.0 + PROOF_SECONDS).good == 1
    assert book.plan(CarryOn(at_most=1), 1.0 + PROOF_SECONDS).effects == (Launch(BlockId("1")),)


def test_a_finished_task_is_proof_enough() -> None:
    book = ledger()
    running(book, 1)
    book.demanded(Demand(loads=(load("0", busy=1.0, done=1),)), 0.1)
    assert (book.history(0.1).good, book.history(0.1).bad) == (1, 0)
    book.reported(JobId("j-0"), FAILED, 0.2)
    assert (book.history(0.2).good, book.history(0.2).bad) == (1, 0), "it worked, so it is no bad block"


def test_what_was_removed_before_it_could_prove_itself_is_neither_good_nor_bad() -> None:
    book = ledger()
    running(book, 1)
    book.scale_in(1, 0.0)
    book.reported(JobId("j-0"), JobStatus(state=JobState.CANCELLED), 0.1)
    assert (book.history(1.0).good, book.history(1.0).bad) == (0, 0)


def test_what_is_due_is_not_lost_when_the_strategy_fails() -> None:
    def broken(*facts: object) -> object:
        raise ZeroDivisionError

    book = ledger(strategy=broken, drain_timeout=5.0)
    registered(book, running(book, 1), busy=1.0)
    book.scale_in(1, 0.0)
    assert book.upkeep(5.0) == [Cancel((JobId("j-0"),))]
    with pytest.raises(ZeroDivisionError):
        book.plan(CarryOn(), 5.0)


def test_giving_up_is_said_and_starts_nothing() -> None:
    book = ledger(min_blocks=1)
    assert book.plan(FailAll("hopeless"), 0.0).effects == (GiveUp("hopeless"),)


def test_a_closing_pool_cancels_everything_and_starts_nothing() -> None:
    book = ledger(min_blocks=2)
    launched(book, book.open(0.0))
    assert book.close(1.0) == [Cancel((JobId("j-0"), JobId("j-1")))]
    assert book.close(1.0) == []
    book.reported(JobId("j-0"), JobStatus(state=JobState.CANCELLED), 2.0)
    assert effects_of(book, 2.0) == ()
    with pytest.raises(ScalingRefused, match="it is closing"):
        book.scale_out(1, 3.0)


def test_by_hand_no_more_than_the_maximum() -> None:
    book = ledger(max_blocks=2)
    running(book, 2)
    with pytest.raises(ScalingRefused, match=r"scale_out\(1\): the pool has 2 block\(s\), its maximum is 2"):
        book.scale_out(1, 0.0)
    with pytest.raises(ScalingRefused):
        book.scale_out(-1, 0.0)
    with pytest.raises(ScalingRefused, match=r"scale_in\(-1\): give how many"):
        book.scale_in(-1, 0.0)
    assert book.scale_in(0, 0.0) == ([], [])
    with pytest.raises(ScalingRefused, match="no block 'x'; living: 0, 1"):
        book.scale_in([BlockId("x")], 0.0)


def test_ended_blocks_are_remembered_within_a_bound() -> None:
    book = ledger()
    for _ in range(REMEMBERED + 10):
        (name,) = running(book, 1)
        book.reported(JobId(f"j-{name}"), FAILED, 0.0)
    assert len(book.status()) == REMEMBERED
    assert len(book.history(0.0).recent) == REMEMBERED
    assert book.history(0.0).bad == REMEMBERED + 10
    assert book.jobs() == []


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


def test_terms_are_fixed() -> None:
    with pytest.raises(AttributeError):
        ledger().terms.walltime = 3.0  # type: ignore[misc]
