"""What every plug-in must do: tests that the author of one runs on his own, and that we run on all that are registered.

Each suite is a class of pytest tests with one fixture to provide. For example, for a strategy:

    import pytest
    from blockyard.blocks.suites import StrategySuite
    from my_package.scaling import seesaw

    class TestSeesaw(StrategySuite):
        @pytest.fixture
        def strategy(self):
            return seesaw

This module needs nothing but pytest's way of calling tests; it does not import it.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from typing import Any, Final, TypeAlias

from blockyard.blocks.blockless import BlocklessExecutor
from blockyard.blocks.drawn import carry_out, draw_histories, draw_pools, drawn_outcome, live_on
from blockyard.blocks.engine import Engine
from blockyard.blocks.errors import CarryOn, ErrorHandler, ErrorLimits, FailAll, History, PauseUntil
from blockyard.blocks.executor import BlockExecutor
from blockyard.blocks.launchers import BlockShape, Launcher
from blockyard.blocks.provider import BlockRequest, Provider
from blockyard.blocks.scaling import Demand, Strategy
from blockyard.blocks.states import JobId, JobState, JobStatus, is_legal
from blockyard.blocks.watched import PATIENCE, watched
from blockyard.errors import ConfigError, PoolFailed
from blockyard.ids import BlockId

Executor: TypeAlias = BlockExecutor | BlocklessExecutor
"""The handles on pools; one of a third party has the same members."""

Words: TypeAlias = Callable[[str], tuple[str, ...]]
"""From a line of shell to an argv that runs it where the provider's blocks run."""

CASES: Final = 400
"""How many drawn situations a pure plug-in is shown."""


def local_program(line: str) -> tuple[str, ...]:
    """The fixture `program` for providers whose blocks run where there is a `/bin/sh`."""
    return ("/bin/sh", "-c", line)


class LauncherSuite:
    """Fixture `launcher`: the function."""

    COMMAND: Final = ("/usr/bin/python3", "-m", "blockyard_worker", "--label=a b", "$HOME;'\"")

    def test_its_result_ends_with_the_command_unchanged(self, launcher: Launcher) -> None:
        for nodes in (1, 2, 7):
            argv = launcher(self.COMMAND, BlockShape(nodes=nodes))
            assert tuple(argv[-len(self.COMMAND) :]) == self.COMMAND, f"for {nodes} node(s) it returned {argv!r}"

    def test_its_result_is_words_and_no_shell_line(self, launcher: Launcher) -> None:
        argv = launcher(self.COMMAND, BlockShape(nodes=3, hosts=("a", "b", "c")))
        assert type(argv) is tuple, f"it returned a {type(argv).__name__}; return a tuple of words"
        assert all(word and "\0" not in word for word in argv), f"it returned {argv!r}"

    def test_it_answers_the_same_question_in_the_same_way(self, launcher: Launcher) -> None:
        shape = BlockShape(nodes=2, hosts=("a", "b"), options=("--verbose",))
        assert launcher(self.COMMAND, shape) == launcher(self.COMMAND, shape)


class StrategySuite:
    """Fixture `strategy`: the function. Shown `CASES` drawn pools, the same in every run."""

    def test_it_never_goes_above_the_maximum(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            left = len(case.blocks) + decision.start
            assert decision.start == 0 or left <= case.policy.max_blocks, f"{decision} for {case}"

    def test_it_never_goes_below_the_minimum(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            supply = {block.block for block in case.blocks if block.supplies}
            left = len(supply - set(decision.drain)) + decision.start
            room = case.policy.max_blocks - len(case.blocks)
            reachable = min(case.policy.min_blocks, len(supply) + max(0, room))
            assert left >= reachable, f"{decision} for {case}"

    def test_it_drains_only_blocks_that_are_there_and_not_draining_already(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            fresh = {block.block for block in case.blocks if not block.draining}
            assert set(decision.drain) <= fresh, f"{decision} for {case}"
            assert len(set(decision.drain)) == len(decision.drain), f"{decision} names a block twice"

    def test_it_never_starts_and_drains_at_once(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            assert not (decision.start and decision.drain), f"{decision} for {case}"

    def test_it_has_nothing_to_add_once_its_decision_is_carried_out(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            first = strategy(case.demand, case.blocks, case.policy, case.now)
            blocks = carry_out(first, case.blocks, case.now)
            again = strategy(case.demand, blocks, case.policy, case.now)
            assert (again.start, again.drain) == (0, ()), f"after {first} it wants {again} for {case}"

    def test_it_drains_no_busy_block_within_the_maximum(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            supply = [block for block in case.blocks if block.supplies]
            busy = {block.block for block in supply if block.busy > 0}
            if len(supply) <= case.policy.max_blocks:
                assert not busy & set(decision.drain), f"{decision} for {case}"

    def test_it_does_not_swing_while_nothing_changes(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES // 4):
            directions = list(live_on(strategy, case))
            turns = [pair for pair in pairwise(directions) if pair[0] != pair[1]]
            assert len(turns) <= 1, f"it went {directions} under constant demand for {case}"

    def test_it_wakes_only_in_the_future(self, strategy: Strategy) -> None:
        for case in draw_pools(CASES):
            decision = strategy(case.demand, case.blocks, case.policy, case.now)
            blocks = carry_out(decision, case.blocks, case.now)
            wake_at = strategy(case.demand, blocks, case.policy, case.now).wake_at
            assert wake_at is None or wake_at > case.now, f"{decision} for {case} would be asked for ever"


class ErrorHandlerSuite:
    """Fixture `handler`: the function."""

    LIMITS: Final = ErrorLimits(threshold=3, pause=1.0, max_pause=8.0)

    def test_it_carries_on_when_nothing_happened(self, handler: ErrorHandler) -> None:
        assert isinstance(handler(History(), self.LIMITS, 0.0), CarryOn)

    def test_it_carries_on_after_any_number_of_good_blocks(self, handler: ErrorHandler) -> None:
        outcomes = tuple(drawn_outcome(number, JobState.FAILED, proved=True) for number in range(20))
        history = History(good=20, recent=outcomes)
        verdict = handler(history, self.LIMITS, 20.0)
        assert verdict == CarryOn(), f"blocks that worked were lost, nothing is wrong with the pool: {verdict}"

    def test_it_does_not_change_its_mind_at_one_instant(self, handler: ErrorHandler) -> None:
        for history, now in draw_histories(CASES):
            assert handler(history, self.LIMITS, now) == handler(history, self.LIMITS, now)

    def test_its_pause_lies_in_the_future_and_ends(self, handler: ErrorHandler) -> None:
        for history, now in draw_histories(CASES):
            verdict = handler(history, self.LIMITS, now)
            if isinstance(verdict, PauseUntil):
                assert now < verdict.until <= now + self.LIMITS.max_pause, f"{verdict} at {now}"
                after = handler(history, self.LIMITS, verdict.until)
                assert isinstance(after, CarryOn), f"{verdict} is followed by {after}: the pool would never go on"

    def test_its_reason_names_the_evidence(self, handler: ErrorHandler) -> None:
        for history, now in draw_histories(CASES):
            verdict = handler(history, self.LIMITS, now)
            if isinstance(verdict, PauseUntil | FailAll):
                assert history.recent[-1].status.message in verdict.reason, f"{verdict.reason!r} says nothing of use"


class ProviderSuite:
    """Fixtures `provider`: one that is not started; `program`: words to the argv of `sh -c` where its blocks run.

    Each test starts it and closes it.
    """

    def test_a_block_runs_and_completes(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("exit 0")))
            end = seen.end_of(job)
            assert (end.state, end.exit_code) == (JobState.COMPLETED, 0), f"{end}"
            assert end.started_at is not None, f"{end}"
            assert end.ended_at is not None, f"{end}"
            assert end.ended_at >= end.started_at, f"{end}"

    def test_a_block_that_fails_says_how(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("echo last words >&2; exit 3")))
            end = seen.end_of(job)
            assert (end.state, end.exit_code) == (JobState.FAILED, 3), f"{end}"
            assert "last words" in end.log_tail, f"{end}"
            assert end.reason, f"{end}"
            assert end.message, f"{end}"

    def test_a_killed_block_names_its_signal(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            end = seen.end_of(provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("kill -KILL $$"))))
            assert (end.state, end.signal) == (JobState.FAILED, 9), f"{end}"
            assert "SIGKILL" in end.message, f"{end}"

    def test_a_program_that_is_not_there_fails_the_block(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            end = seen.end_of(provider.submit(BlockRequest(block=BlockId("b-0"), argv=("/nonesuch/program",))))
            assert end.state is JobState.FAILED, f"{end}"
            assert "/nonesuch/program" in end.message + end.log_tail, f"{end}"

    def test_a_cancelled_block_is_cancelled(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("sleep 600")))
            seen.state_of(job, JobState.RUNNING)
            assert provider.cancel([job]) == {job: True}
            assert seen.end_of(job).state is JobState.CANCELLED
            assert provider.cancel([job]) == {job: False}, "it has ended"

    def test_a_block_sees_its_environment_and_its_name(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            argv = program('test "$BLOCKYARD_BLOCK,$COLOUR" = "b-7,dark red"')
            job = provider.submit(BlockRequest(block=BlockId("b-7"), argv=argv, env={"COLOUR": "dark red"}))
            assert seen.end_of(job).state is JobState.COMPLETED

    def test_a_block_ends_at_its_walltime(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("sleep 600"), walltime=0.2))
            assert seen.end_of(job).state is JobState.TIMEOUT

    def test_what_it_reports_follows_the_table(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            requests = [BlockRequest(block=BlockId(f"b-{n}"), argv=program(f"exit {n}")) for n in range(4)]
            jobs = [provider.submit(request) for request in requests]
            for job in jobs:
                seen.end_of(job)
        for job in jobs:  # what only a poll sees may skip states, and still has to follow the table
            states = [JobState.PENDING, *(status.state for status in seen.of(job))]
            assert all(is_legal(*pair) for pair in pairwise(states)), f"{job}: {states}"
            assert sum(state.terminal for state in states) == 1, f"{job}: {states}"

    def test_its_answer_agrees_with_what_it_pushed(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("exit 5")))
            end = seen.end_of(job)
            assert provider.status([job]) == {job: end}
            provider.forget([job])
            assert provider.status([job])[job].state is JobState.UNKNOWN

    def test_it_does_not_know_a_strange_job(self, provider: Provider, program: Words) -> None:
        with watched(provider):
            strange = JobId("nonesuch")
            assert provider.status([strange])[strange].state is JobState.UNKNOWN
            assert provider.cancel([strange]) == {strange: False}

    def test_closing_ends_what_runs(self, provider: Provider, program: Words) -> None:
        with watched(provider) as seen:
            job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program("sleep 600")))
            seen.state_of(job, JobState.RUNNING)
            provider.close()
            assert seen.end_of(job).state is JobState.CANCELLED
            provider.close()


class EngineSuite:
    """Fixture `engine`: one that serves the pool `default` with at least one worker, for as long as the test runs."""

    def test_it_runs_a_call(self, engine: Engine) -> None:
        assert engine.submit("default", pow, {}, (2, 10), {}).result(PATIENCE) == 1024

    def test_it_hands_back_what_a_call_raised(self, engine: Engine) -> None:
        error = engine.submit("default", int, {}, ("x",), {}).exception(PATIENCE)
        assert isinstance(error, ValueError), f"{error!r}"

    def test_it_pushes_demand_soon_after_it_was_asked(self, engine: Engine) -> None:
        pushed: queue.SimpleQueue[Demand] = queue.SimpleQueue()
        stop = engine.watch("default", pushed.put)
        demand = pushed.get(timeout=PATIENCE)
        stop()
        assert isinstance(demand, Demand), f"{demand!r}"

    def test_a_command_is_words_and_its_environment_strings(self, engine: Engine) -> None:
        command = engine.block_command("default", BlockId("b-0"), 60.0)
        assert command.argv, f"{command}"
        assert all(isinstance(word, str) for word in command.argv), f"{command}"
        assert all(isinstance(word, str) for item in command.env.items() for word in item), "a name or value is no text"

    def test_draining_and_losing_an_unknown_block_changes_nothing(self, engine: Engine) -> None:
        engine.drain("default", [BlockId("nonesuch")], 1.0)
        engine.block_gone("default", BlockId("nonesuch"), JobStatus(state=JobState.FAILED))
        assert engine.submit("default", pow, {}, (2, 3), {}).result(PATIENCE) == 8

    def test_a_refused_pool_raises_and_the_first_reason_stays(self, engine: Engine) -> None:
        engine.refuse("default", ValueError("first"))
        engine.refuse("default", ValueError("second"))
        raised: BaseException | None = None
        try:
            engine.submit("default", pow, {}, (2, 3), {})
        except ValueError as error:
            raised = error
        assert str(raised) == "first", f"it raised {raised!r}"

    def test_its_futures_are_listed_until_they_end(self, engine: Engine) -> None:
        ended: Future[Any] = engine.submit("default", pow, {}, (2, 3), {})
        ended.result(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while ended in engine.tasks("default").values() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ended not in engine.tasks("default").values()


class ExecutorSuite:
    """Fixture `executor`: a handle on a pool that was started and runs calls, with blocks or without.

    Shutting it down is left to the fixture.
    """

    def test_it_runs_a_call_and_forgets_it(self, executor: Executor) -> None:
        future = executor.submit(pow, {}, 2, 10)
        assert future.result(PATIENCE) == 1024
        deadline = time.monotonic() + PATIENCE
        while executor.outstanding() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert executor.outstanding() == 0
        assert future not in executor.tasks.values()

    def test_a_specification_that_is_none_is_refused_by_name(self, executor: Executor) -> None:
        given: Any
        for given, word in ((0, "resource_specification=0"), ("x", "resource_specification='x'"), ({"pool": "b"}, "b")):
            raised = ""
            try:
                executor.submit(abs, given, -1)
            except ConfigError as error:
                raised = str(error)
            assert word in raised, f"{given!r} was taken for a specification"

    def test_it_tells_what_it_is(self, executor: Executor) -> None:
        assert executor.label
        assert executor.workers_per_node > 0
        assert executor.status_polling_interval >= 0
        assert (executor.provider is not None) == executor.scaling_enabled
        assert isinstance(executor.monitor_resources(), bool)

    def test_it_tells_of_every_block_that_it_has(self, executor: Executor) -> None:
        status = executor.status()
        assert [info.block for info in executor.create_monitoring_info(status)] == list(status)

    def test_blocks_by_hand_are_named(self, executor: Executor) -> None:
        started = executor.scale_out(1 if executor.scaling_enabled else 3)
        assert len(started) == (1 if executor.scaling_enabled else 0)
        assert executor.scale_in(started) == started

    def test_a_failed_pool_fails_all_futures_and_refuses_more(self, executor: Executor) -> None:
        gone = executor.submit(pow, {}, 2, 3)
        gone.result(PATIENCE)
        waiting = [executor.submit(time.sleep, {}, 600.0 if executor.scaling_enabled else 0.2) for _ in range(3)]
        assert executor.executor_exception is None
        executor.set_bad_state_and_fail_all(PoolFailed("broken"))
        executor.set_bad_state_and_fail_all(PoolFailed("later"))
        assert [str(future.exception(PATIENCE)) for future in waiting] == ["broken"] * 3
        assert gone.result() == 8
        assert executor.bad_state_is_set
        raised: BaseException | None = None
        try:
            executor.submit(pow, {}, 2, 3)
        except PoolFailed as error:
            raised = error
        assert raised is executor.executor_exception
