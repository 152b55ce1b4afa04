"""The suites themselves: a faulty plug-in of each kind must fail at least the test that is about its fault."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from blockyard.blocks import errors, scaling
from blockyard.blocks.errors import ErrorHandler, ErrorLimits, FailAll, History, PauseUntil, Verdict
from blockyard.blocks.launchers import Argv, BlockShape, Launcher
from blockyard.blocks.provider import LocalProvider
from blockyard.blocks.scaling import BlockView, Decision, Demand, Policy, Strategy
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.blocks.suites import ErrorHandlerSuite, LauncherSuite, ProviderSuite, StrategySuite, local_program


def greedy(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    return Decision(start=scaling.needed_blocks(demand, policy))


def hasty(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    return Decision(drain=tuple(block.block for block in blocks if not block.draining and not block.busy))


def rude(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    supply = [block for block in blocks if block.supplies]
    return Decision(drain=tuple(block.block for block in supply[policy.min_blocks :]))


def restless(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    supply = [block for block in blocks if block.supplies]
    if int(now) % 2 and len(supply) > policy.min_blocks:
        return Decision(drain=(supply[-1].block,))
    return Decision(start=1 if len(blocks) < policy.max_blocks else 0)


def sleepless(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    return Decision(wake_at=now)


@pytest.mark.parametrize(
    "strategy, test",
    [
        (greedy, StrategySuite.test_it_never_goes_above_the_maximum),
        (greedy, StrategySuite.test_it_has_nothing_to_add_once_its_decision_is_carried_out),
        (hasty, StrategySuite.test_it_never_goes_below_the_minimum),
        (rude, StrategySuite.test_it_drains_no_busy_block_within_the_maximum),
        (restless, StrategySuite.test_it_does_not_swing_while_nothing_changes),
        (sleepless, StrategySuite.test_it_wakes_only_in_the_future),
    ],
)
def test_a_faulty_strategy_is_caught(strategy: Strategy, test: Callable[[StrategySuite, Strategy], None]) -> None:
    with pytest.raises(AssertionError):
        test(StrategySuite(), strategy)


def rash(history: History, limits: ErrorLimits, now: float) -> Verdict:
    return FailAll("something is wrong") if len(history.recent) > 10 else errors.none(history, limits, now)


def endless(history: History, limits: ErrorLimits, now: float) -> Verdict:
    return PauseUntil(now + 1, history.recent[-1].status.message) if history.bad_streak() else errors.CarryOn()


@pytest.mark.parametrize(
    "handler, test",
    [
        (rash, ErrorHandlerSuite.test_it_carries_on_after_any_number_of_good_blocks),
        (rash, ErrorHandlerSuite.test_its_reason_names_the_evidence),
        (endless, ErrorHandlerSuite.test_its_pause_lies_in_the_future_and_ends),
    ],
)
def test_a_faulty_handler_is_caught(
    handler: ErrorHandler, test: Callable[[ErrorHandlerSuite, ErrorHandler], None]
) -> None:
    with pytest.raises(AssertionError):
        test(ErrorHandlerSuite(), handler)


def shelly(command: Argv, shape: BlockShape) -> Argv:
    return ("sh", "-c", " ".join(command))


def wordless(command: Argv, shape: BlockShape) -> Argv:
    return ("", *command)


@pytest.mark.parametrize(
    "launcher, test",
    [
        (shelly, LauncherSuite.test_its_result_ends_with_the_command_unchanged),
        (wordless, LauncherSuite.test_its_result_is_words_and_no_shell_line),
    ],
)
def test_a_faulty_launcher_is_caught(launcher: Launcher, test: Callable[[LauncherSuite, Launcher], None]) -> None:
    with pytest.raises(AssertionError):
        test(LauncherSuite(), launcher)


class Repeating(LocalProvider):
    """Says everything twice."""

    def start(self, on_change: Callable[[JobId, JobStatus], None]) -> None:
        def twice(job: JobId, status: JobStatus) -> None:
            on_change(job, status)
            on_change(job, status)

        super().start(twice)


class Blind(LocalProvider):
    """Takes every end for a good one."""

    def start(self, on_change: Callable[[JobId, JobStatus], None]) -> None:
        def rosy(job: JobId, status: JobStatus) -> None:
            on_change(job, JobStatus(state=JobState.COMPLETED) if status.terminal else status)

        super().start(rosy)


def test_a_provider_that_repeats_itself_is_caught(tmp_path: Path) -> None:
    provider = Repeating(owner="test-repeating", log_dir=tmp_path)
    with pytest.raises(AssertionError):
        ProviderSuite().test_what_it_reports_follows_the_table(provider, local_program)


def test_a_provider_that_hides_failures_is_caught(tmp_path: Path) -> None:
    provider = Blind(owner="test-blind", log_dir=tmp_path)
    with pytest.raises(AssertionError):
        ProviderSuite().test_a_block_that_fails_says_how(provider, local_program)
