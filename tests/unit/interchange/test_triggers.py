"""When a task runs that does not simply wait for success; and that a restart comes to the same."""

import itertools
from typing import Any

import pytest

from blockyard.ids import TaskId, task_name
from blockyard.payload import dump_value, load_value
from blockyard.wire import client as wire
from blockyard.wire.records import NONE_BODY, Condition, Outcome, Status, Trigger
from blockyard.workflow.spec import Rule
from blockyard_interchange.core.state import TaskState
from blockyard_interchange.core.triggers import Verdict, decide
from tests.unit.interchange.builders import Bench, Client, Manager, a_spec, done, ended, joined, lease

DONE, RAISED, SKIPPED, OPEN = Status.DONE, Status.RAISED, Status.SKIPPED, None

TABLE = [
    (Trigger.ALL_SUCCESS, [DONE, OPEN], Verdict.WAIT),
    (Trigger.ALL_SUCCESS, [DONE, DONE], Verdict.RUN),
    (Trigger.ALL_SUCCESS, [OPEN, RAISED], Verdict.FAIL),
    (Trigger.ALL_SUCCESS, [SKIPPED, OPEN], Verdict.SKIP),
    (Trigger.ANY_SUCCESS, [OPEN, RAISED], Verdict.WAIT),
    (Trigger.ANY_SUCCESS, [OPEN, DONE], Verdict.RUN),
    (Trigger.ANY_SUCCESS, [SKIPPED, RAISED], Verdict.FAIL),
    (Trigger.ANY_SUCCESS, [SKIPPED, SKIPPED], Verdict.SKIP),
    (Trigger.ANY_FAILED, [OPEN, DONE], Verdict.WAIT),
    (Trigger.ANY_FAILED, [OPEN, RAISED], Verdict.RUN),
    (Trigger.ANY_FAILED, [DONE, SKIPPED], Verdict.SKIP),
    (Trigger.ALL_FAILED, [OPEN, RAISED], Verdict.WAIT),
    (Trigger.ALL_FAILED, [RAISED, RAISED], Verdict.RUN),
    (Trigger.ALL_FAILED, [OPEN, DONE], Verdict.SKIP),
    (Trigger.NONE_FAILED, [OPEN, SKIPPED], Verdict.WAIT),
    (Trigger.NONE_FAILED, [DONE, SKIPPED], Verdict.RUN),
    (Trigger.NONE_FAILED, [OPEN, RAISED], Verdict.FAIL),
    (Trigger.ALWAYS, [RAISED, OPEN], Verdict.WAIT),
    (Trigger.ALWAYS, [RAISED, SKIPPED], Verdict.RUN),
    (Trigger.NONE_FAILED_ANY_SUCCESS, [OPEN, DONE], Verdict.WAIT),
    (Trigger.NONE_FAILED_ANY_SUCCESS, [SKIPPED, DONE], Verdict.RUN),
    (Trigger.NONE_FAILED_ANY_SUCCESS, [SKIPPED, SKIPPED], Verdict.SKIP),
    (Trigger.NONE_FAILED_ANY_SUCCESS, [OPEN, RAISED], Verdict.FAIL),
    (Trigger.ALL_SKIPPED, [OPEN, SKIPPED], Verdict.WAIT),
    (Trigger.ALL_SKIPPED, [SKIPPED, SKIPPED], Verdict.RUN),
    (Trigger.ALL_SKIPPED, [OPEN, RAISED], Verdict.SKIP),
    (Trigger.NONE_SKIPPED, [OPEN, RAISED], Verdict.WAIT),
    (Trigger.NONE_SKIPPED, [DONE, RAISED], Verdict.RUN),
    (Trigger.NONE_SKIPPED, [OPEN, SKIPPED], Verdict.SKIP),
]


@pytest.mark.parametrize("trigger, ends, verdict", TABLE)
def test_of_each_trigger(trigger: Trigger, ends: list[Status | None], verdict: Verdict) -> None:
    assert decide(trigger, ends) is verdict
    assert decide(trigger, ends[::-1]) is verdict


def test_people_read_a_trigger_as_they_write_it() -> None:
    assert {trigger.word for trigger in Trigger} == set(Rule)


@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_verdict_stands_whoever_ends_later(trigger: Trigger) -> None:
    """So that a replay, which sees more ends at once, comes to the same; all ends are open, or one of four."""
    kinds = [OPEN, DONE, RAISED, SKIPPED]
    for ends in itertools.product(kinds, repeat=3):
        verdict = decide(trigger, ends)
        if verdict is Verdict.WAIT:
            assert OPEN in ends, "nothing would ever wake it"
            continue
        for later in itertools.product(*([one] if one is not OPEN else kinds for one in ends)):
            seen = decide(trigger, later)
            stopped = {Verdict.FAIL, Verdict.SKIP}
            assert seen is verdict or {seen, verdict} <= stopped, (ends, later)


def test_what_stands_for_a_result_that_is_not_there_is_none() -> None:
    assert load_value(NONE_BODY) is None
    assert dump_value(None) == NONE_BODY


def three(bench: Bench, trigger: Trigger, **fields: Any) -> tuple[Client, Manager, int]:
    """Two tasks with a manager, and one that needs both."""
    client, manager = bench.client(), bench.manager(workers=4)
    first, second = client.call(a_spec(), [b"a", b"b"])
    (third,) = client.call(a_spec(trigger=trigger, **fields), needs=[[first, second]])
    bench.turn()
    return client, manager, third


def test_any_runs_with_what_is_there_while_the_other_goes_on() -> None:
    bench = Bench()
    client, manager, third = three(bench, Trigger.ANY_SUCCESS)
    a, b = manager.assigned()
    manager.report(done(a, b"result"))
    bench.turn()
    (given,) = manager.assigned()
    assert given.task == third
    assert [need.body for need in given.needs] == [b"result", NONE_BODY]
    manager.report(ended(b, Status.RAISED))
    manager.report(done(given))
    bench.turn()
    assert [one.status for one in client.outcomes()] == [DONE, RAISED, DONE]


def test_always_runs_after_failures_with_none_for_their_results() -> None:
    bench = Bench()
    _, manager, third = three(bench, Trigger.ALWAYS)
    a, b = manager.assigned()
    manager.report(ended(a, Status.RAISED))
    bench.turn()
    assert manager.assigned() == []
    manager.report(done(b, b"result"))
    bench.turn()
    (given,) = manager.assigned()
    assert (given.task, [need.body for need in given.needs]) == (third, [NONE_BODY, b"result"])


def test_who_needs_a_skipped_one_is_skipped_and_nothing_counts_as_failed() -> None:
    bench = Bench()
    client, manager, third = three(bench, Trigger.ANY_FAILED)
    (last,) = client.call(needs=[[third]])
    (judged,) = client.call(a_spec(condition=Condition("true", ["third"])), needs=[[third]])
    (after,) = client.call(a_spec(trigger=Trigger.NONE_FAILED), needs=[[third, last]])
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    said = {
        one.task: one.failure.message for one in client.outcomes() if one.status is SKIPPED and one.failure is not None
    }
    for_another = f"it was skipped: {task_name(TaskId(third))}, which it needs, was"
    assert said == {third: "it was skipped: by its trigger, AnyFailed", last: for_another, judged: for_another}
    assert [one.task for one in manager.assigned()] == [after]
    assert bench.state.pools["default"].counters.failed == 0


def condition(text: str) -> Condition:
    return Condition(text, ["a", "b"], b'{"limit": 2}')


@pytest.mark.parametrize(
    "text, status",
    [
        ("steps.a.outputs.n > params.limit && steps.b.state == 'Failed'", None),
        ("steps.a.outputs.n < params.limit", Status.SKIPPED),
        ("steps.a.outputs.nothing > 1", Status.REFUSED),
        ("steps.a.outputs.n", Status.REFUSED),
    ],
)
def test_a_condition_sees_parameters_states_and_declared_outputs(text: str, status: Status | None) -> None:
    bench = Bench()
    client, manager, third = three(bench, Trigger.ALWAYS, condition=condition(text))
    a, b = manager.assigned()
    manager.report(Outcome(a.task, a.epoch, DONE, b"result", 0.0, None, None, b'{"n": 3}'), ended(b, Status.RAISED))
    bench.turn()
    if status is None:
        assert [one.task for one in manager.assigned()] == [third]
    else:
        (found,) = [one for one in client.outcomes() if one.task == third]
        assert found.status is status
        assert found.failure is not None
        assert "condition" in found.failure.message


def test_a_condition_that_cannot_be_read_is_refused_with_its_submission() -> None:
    bench = Bench()
    client = bench.client()
    client.call(a_spec(condition=Condition("steps.a.")))
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert "condition 'steps.a.' cannot be read" in refused.message


def test_a_condition_on_parameters_alone_is_judged_at_once() -> None:
    bench = Bench()
    client = bench.client()
    client.call(a_spec(condition=Condition("params.n == 1", [], b'{"n": 2}')))
    bench.turn()
    assert [one.status for one in client.outcomes()] == [SKIPPED]


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("text", ["", "steps.a.state == 'Failed' || steps.b.state == 'Failed'"])
def test_a_restart_at_any_point_ends_the_same(trigger: Trigger, text: str) -> None:
    def ends(restart_at: int) -> tuple[Status | None, list[bytes | None]]:
        bench = Bench()
        client, manager, third = three(bench, trigger, condition=condition(text) if text else None)
        tried = [one for one in manager.assigned() if one.task != third]
        given: list[bytes | None] = []
        for step, (one, status) in enumerate(zip(tried, [DONE, RAISED], strict=True)):
            if step == restart_at:
                bench.restart()
                bench.compact_all()
                client.say(client.hello)
                manager.back(*(lease(other) for other in tried[step:]))
                bench.turn()
            manager.report(done(one, b"r") if status is DONE else ended(one, status))
            bench.turn()
        for one in manager.assigned():
            given = [need.body if isinstance(need.body, bytes) else None for need in one.needs]
            manager.report(done(one))
        bench.turn()
        outcome = bench.task(third).outcome
        return (outcome.status if outcome is not None else None), given

    assert ends(9)[0] is not None
    assert ends(0) == ends(1) == ends(9)


def test_a_task_that_joined_under_a_condition_is_not_judged_again_after_a_restart() -> None:
    bench = Bench()
    client, manager, third = three(bench, Trigger.ALWAYS, condition=condition("steps.a.state == 'Succeeded'"))
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    bench.restart()
    assert bench.task(third).state is TaskState.JOINING
    client.say(client.hello)
    manager.back()
    bench.turn()
    bench.turn(30.0)
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    outcome = bench.task(third).outcome
    assert outcome is not None
    assert outcome.status is DONE
