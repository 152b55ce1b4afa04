"""A pool over real processes and a fake engine: blocks follow demand, are replaced when they die, and end with it.

What the strategies and error handlers decide is tested by tables elsewhere; here it is carried out.
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from blockyard.blocks.errors import ErrorLimits
from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.faults import ScalingRefused
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.provider import LocalProvider
from blockyard.blocks.scaling import BlockView, Decision, Demand, Policy, auto
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.blocks.watched import PATIENCE
from blockyard.errors import PoolFailed
from blockyard.ids import BlockId
from tests.contract.blocks.conftest import MakeExecutor
from tests.contract.blocks.fake_engine import MANAGER, FakeEngine
from tests.contract.blocks.test_providers import Mute
from tests.integration.processes import wait_until


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_initial_blocks_are_started_by_the_pool_itself(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(init_blocks=2, max_blocks=3, strategy="none"))
    blocks = engine.wait_for_managers(2)
    assert list(executor.status()) == sorted(blocks)
    assert executor.status_polling_interval == 0


def test_blocks_follow_demand_up_and_down_to_nothing(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(workers_per_node=2, max_blocks=3, idle_timeout=0.2))
    assert executor.status() == {}
    engine.want(5)
    blocks = engine.wait_for_managers(3)
    engine.want(0)
    for block in blocks:
        end = engine.wait_for_end(block)
        assert (end.state, end.exit_code) == (JobState.SCALED_IN, 0), f"drained, its manager leaves: {end}"
    assert {block for drained, _ in engine.drained for block in drained} == set(blocks)


def test_a_killed_manager_is_replaced_at_once(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    make_executor(LocalPool(min_blocks=1, max_blocks=1))
    (block,) = engine.wait_for_managers(1)
    os.kill(engine.pids(block)[0], signal.SIGKILL)
    assert engine.wait_for_end(block).signal == signal.SIGKILL
    engine.until("another block", lambda: bool(engine._links) and block not in engine._links)


def test_a_user_scales_by_hand_within_the_maximum(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(max_blocks=2, strategy="none"))
    started = executor.scale_out(2)
    assert sorted(started) == sorted(engine.wait_for_managers(2))
    with pytest.raises(ScalingRefused, match="maximum is 2"):
        executor.scale_out(1)
    engine.keep_busy(started[0], 1)
    assert executor.scale_in(1) == [started[1]], "the idle one goes first"
    assert engine.wait_for_end(started[1]).state is JobState.SCALED_IN
    assert executor.scale_in(started[1]) == [], "it has ended"
    assert executor.status()[started[0]].state is JobState.RUNNING
    with pytest.raises(ScalingRefused, match="no block 'nonesuch'"):
        executor.scale_in([BlockId("nonesuch")])


def test_a_busy_block_is_killed_only_at_its_deadline(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(max_blocks=1, strategy="none", drain_timeout=0.4))
    (block,) = executor.scale_out()
    engine.wait_for_managers(1)
    engine.keep_busy(block, 1)
    asked_at = time.monotonic()
    assert executor.scale_in([block]) == [block]
    end = engine.wait_for_end(block)
    assert time.monotonic() - asked_at >= 0.4
    assert (end.state, end.signal) == (JobState.SCALED_IN, signal.SIGTERM)


def test_blocks_that_cannot_start_fail_the_pool_with_evidence(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    engine.hold = True
    engine.argv = ("/bin/sh", "-c", "echo no such image >&2; exit 4")
    pool = LocalPool(min_blocks=1, max_blocks=1, error_policy="windowed", error_limits=ErrorLimits(threshold=2))
    executor = make_executor(pool)
    waiting = executor.submit(pow, {}, 2, 10)
    error = waiting.exception(PATIENCE)
    assert isinstance(error, PoolFailed)
    assert "no such image" in str(error)
    assert executor.bad_state_is_set
    with pytest.raises(PoolFailed):
        executor.submit(pow, {}, 2, 10)
    ends = list(executor.status().values())
    assert [(end.state, end.exit_code) for end in ends] == [(JobState.MISSING, 4)] * 2, "no manager ever registered"


def test_a_breaker_pauses_and_the_pool_recovers_by_itself(
    engine: FakeEngine, make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    engine.hold = True
    engine.argv = ("/bin/sh", "-c", "echo no such image >&2; exit 4")
    limits = ErrorLimits(threshold=2, pause=0.3, max_pause=0.3)
    executor = make_executor(LocalPool(min_blocks=1, max_blocks=1, error_limits=limits))
    waiting = executor.submit(pow, {}, 2, 10)
    engine.until("three bad blocks", lambda: len(engine.gone) >= 3)
    engine.argv = None
    engine.wait_for_managers(1)
    assert not waiting.done(), "the breaker waits, it fails no task"
    pauses = [record.getMessage() for record in caplog.records if "starts no block for" in record.getMessage()]
    assert len(pauses) == len(engine.gone) - 1, "one sentence a pause"
    assert "its last 2 blocks failed. Tasks wait until that is mended;" in pauses[0]
    assert pauses[0].endswith("its log ends with: no such image")
    assert not executor.bad_state_is_set


def test_a_block_without_a_manager_is_missing_in_the_end(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    engine.argv = ("/bin/sleep", "600")
    executor = make_executor(LocalPool(max_blocks=1, strategy="none", register_timeout=0.2))
    (block,) = executor.scale_out()
    end = engine.wait_for_end(block)
    assert (end.state, end.reason) == (JobState.MISSING, "NoManager")


def test_a_block_is_drained_before_its_walltime_and_replaced(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    make_executor(LocalPool(min_blocks=1, max_blocks=2, walltime=5.0, drain_timeout=3.0))
    (block,) = engine.wait_for_managers(1)
    end = engine.wait_for_end(block)
    assert (end.state, end.reason, end.exit_code) == (JobState.TIMEOUT, "Walltime", 0), "drained, so it left in time"
    engine.until("another block", lambda: bool(set(engine._links) - {block}))


def test_several_nodes_are_one_block(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(nodes_per_block=3, max_blocks=1, strategy="none"))
    (block,) = executor.scale_out()
    engine.until("three managers", lambda: len(engine._links.get(block, [])) == 3)
    pids = engine.pids(block)
    os.kill(pids[1], signal.SIGKILL)
    end = engine.wait_for_end(block)
    assert (end.state, end.exit_code) == (JobState.FAILED, 137), "what is lost in part is lost as a whole"
    engine.until("no manager left", lambda: not engine._links)


def test_shutdown_leaves_no_process_behind(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(init_blocks=2, max_blocks=2))
    pids = [engine.pids(block)[0] for block in engine.wait_for_managers(2)]
    executor.shutdown()
    executor.shutdown()
    assert [pid for pid in pids if is_alive(pid)] == []
    assert {status.state for status in executor.status().values()} == {JobState.SCALED_IN}
    with pytest.raises(ScalingRefused, match="does not run"):
        executor.scale_out()


def test_a_program_that_ignores_the_request_to_end_is_killed(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    engine.argv = (sys.executable, "-S", str(MANAGER), str(engine.path), "stubborn")
    executor = make_executor(LocalPool(init_blocks=1, max_blocks=1))
    engine.wait_for_managers(1)
    executor.shutdown(timeout=0.2)
    (end,) = executor.status().values()
    assert (end.state, end.signal) == (JobState.SCALED_IN, signal.SIGKILL)


def test_a_provider_that_pushes_is_never_asked(engine: FakeEngine, make_executor: MakeExecutor, tmp_path: Path) -> None:
    class NeverAsked(LocalProvider):
        def status(self, jobs: Sequence[JobId]) -> dict[JobId, JobStatus]:
            raise AssertionError(f"asked about {jobs}")

    provider = NeverAsked(owner="test-never-asked", log_dir=tmp_path / "logs")
    executor = make_executor(LocalPool(init_blocks=1, max_blocks=1), provider=provider)
    (block,) = engine.wait_for_managers(1)
    assert executor.scale_in([block]) == [block]
    assert engine.wait_for_end(block).state is JobState.SCALED_IN


def test_a_provider_without_push_is_asked_in_its_interval(
    engine: FakeEngine, make_executor: MakeExecutor, tmp_path: Path
) -> None:
    provider = Mute(owner="test-mute", log_dir=tmp_path / "logs", status_polling_interval=0.05)
    executor = make_executor(LocalPool(init_blocks=1, max_blocks=1, strategy="none"), provider=provider)
    (block,) = engine.wait_for_managers(1)
    engine.say(block, "crash 7")
    assert engine.wait_for_end(block).exit_code == 7
    assert executor.status_polling_interval == 0.05


def test_every_change_of_a_block_is_told(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    told: list[tuple[BlockId, JobState]] = []
    executor = make_executor(
        LocalPool(init_blocks=1, max_blocks=1), on_block=lambda block, status: told.append((block, status.state))
    )
    (block,) = engine.wait_for_managers(1)
    executor.shutdown()
    assert told == [(block, JobState.PENDING), (block, JobState.RUNNING), (block, JobState.SCALED_IN)]


def test_a_subclass_may_judge_errors_itself(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    class Lenient(BlockExecutor):
        def handle_errors(self, status: Mapping[BlockId, JobStatus]) -> bool:
            return True

    engine.argv = ("/bin/false",)
    pool = LocalPool(min_blocks=1, max_blocks=1, error_policy="simple", error_limits=ErrorLimits(threshold=1))
    executor = make_executor(pool, kind=Lenient)
    engine.until("three bad blocks", lambda: len(engine.gone) >= 3)
    assert not executor.bad_state_is_set


def test_a_faulty_strategy_does_not_end_the_loop(
    engine: FakeEngine, make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockyard.blocks.block_loop.RECOVER_SECONDS", 0.05)

    def broken(*facts: object) -> object:
        raise ZeroDivisionError

    executor = make_executor(LocalPool(max_blocks=1, strategy=broken))  # type: ignore[arg-type]  # that is the point
    (block,) = executor.scale_out()
    assert engine.wait_for_managers(1) == [block]


def test_a_flood_of_demand_is_looked_at_now_and_then_and_the_last_word_counts(
    engine: FakeEngine, make_executor: MakeExecutor
) -> None:
    seen: list[float] = []

    def watching(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
        seen.append(demand.queued_slots)
        return auto(demand, blocks, policy, now)

    make_executor(LocalPool(max_blocks=1, strategy=watching))
    for number in range(5000):
        engine.want(0.001 * (number % 2))
    engine.want(0.5)
    engine.wait_for_managers(1)
    wait_until("the last word is looked at", lambda: seen[-1], lambda last: last == 0.5)
    assert len(seen) < 500, "fifty times a second, not once for each"


def test_the_launch_command_is_what_is_run(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(max_blocks=1, nodes_per_block=2, launcher="mpi", launcher_options=("-q",)))
    argv = executor.launch_command(BlockId("b-0"))
    assert argv[:3] == ("mpirun", "-n", "2")
    assert "-q" in argv
    assert argv[-1] == str(engine.path)


def test_monitoring_is_told_which_job_a_block_is(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(init_blocks=1, max_blocks=1))
    (block,) = engine.wait_for_managers(1)
    wait_until("it runs", executor.status, lambda found: found[block].state is JobState.RUNNING)
    (info,) = executor.create_monitoring_info(executor.status())
    assert (info.block, info.state, info.pool) == (block, JobState.RUNNING, "default")
    assert info.job is not None
    assert info.job.startswith(block)


def test_a_loop_that_was_stopped_stays_stopped(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool())
    executor.shutdown()
    with pytest.raises(ScalingRefused, match="was shut down"):
        executor.start()


def test_a_forked_process_is_told_that_the_pool_is_not_its_own(engine: FakeEngine, make_executor: MakeExecutor) -> None:
    executor = make_executor(LocalPool(init_blocks=1, max_blocks=2))
    (block,) = engine.wait_for_managers(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of exactly what is tested here
        child = os.fork()
    if child == 0:
        try:
            executor.scale_out()
        except ScalingRefused as error:
            os._exit(0 if "forked" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engine.registered() == [block]
