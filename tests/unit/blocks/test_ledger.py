"""The book of a pool's blocks: every event with its instant, every effect accounted for."""

import msgspec
import pytest

from blockyard.blocks.errors import CarryOn, FailAll, PauseUntil
from blockyard.blocks.faults import IllegalTransition, ScalingRefused
from blockyard.blocks.ledger import PROOF_SECONDS, REMEMBERED, STUMBLE_SECONDS, Cancel, Drain, GiveUp, Gone, Launch
from blockyard.blocks.scaling import Demand
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.ids import BlockId
from tests.unit.blocks.builders import EXITED, FAILED, RUNNING, effects_of, launched, ledger, load, registered, running

B0, B1 = BlockId("0"), BlockId("1")


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
    with pytest.raises(ScalingRefused, match=r"scale_out\(-1\): give how many"):
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


def test_terms_are_fixed() -> None:
    with pytest.raises(AttributeError):
        ledger().terms.walltime = 3.0  # type: ignore[misc]
