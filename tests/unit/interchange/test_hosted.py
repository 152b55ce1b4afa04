"""Runs that the interchange keeps by itself: started once, seen by who asks, there after a restart."""

from collections.abc import Sequence
from typing import Any

import pytest

from blockyard.ids import hosted_session
from blockyard.wire import client as wire
from blockyard.wire import control, hosted
from blockyard.wire import manager as manager_wire
from blockyard.wire.monitoring import Tasks
from blockyard.wire.records import Group, Lease, Need, Status, Trigger
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.state import Programs
from tests.unit.interchange.builders import Bench, Client, Manager, a_function, a_spec, done, ended, joined

RUN = "pipeline"


def number(place: int, run: str = RUN) -> int:
    return hosted_session(run) << 32 | place


def order(
    *steps: tuple[str, Sequence[int]], run: str = RUN, digest: bytes = b"1", held: bool = False, **spec: Any
) -> hosted.StartRun:
    """Each step with the places of those that it needs; a name in capitals is an exit step."""
    groups, marks = [], []
    for place, (name, needs) in enumerate(steps):
        trigger = Trigger.ALWAYS if name.isupper() else Trigger.ALL_SUCCESS
        needed = [number(one, run) for one in needs]
        groups.append(Group(a_spec(name=name, trigger=trigger, **spec), place, [b"x"], [needed]))
        decides = not any(place in other for _, other in steps)
        marks.append(hosted.StepMark(name, number(place, run), decides, name.isupper()))
    return hosted.StartRun(run, digest, [a_function()], groups, marks, held)


CHAIN = order(("a", ()), ("b", (0,)))


def phase(client: Client, run: str = RUN) -> str:
    return client.ask(hosted.Run(run), hosted.RunIs).line.phase


def states(client: Client) -> dict[str, str]:
    return {one.name: one.state for one in client.ask(hosted.Run(RUN), hosted.RunIs).steps}


def test_a_run_goes_on_when_who_started_it_has_gone_and_is_there_to_be_asked_about() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    assert client.ask(CHAIN, control.Done).count == 2
    client.say(wire.Bye(cancel=True))
    for _ in range(2):
        bench.turn(bench.settings.client_grace * 2)
        manager.back()
        bench.turn()
        manager.report(*(done(one, b"result") for one in manager.assigned()))
    bench.turn()
    other = bench.client(2)
    line = other.ask(hosted.Run(RUN), hosted.RunIs).line
    assert (line.phase, line.counts) == ("Succeeded", {"Succeeded": 2})
    assert bench.task(number(1)).outcome is not None


def test_a_step_that_runs_tells_for_how_long_and_what_is_behind_it_waits() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    bench.turn()
    assert len(manager.assigned()) == 2, "the second travels behind the first"
    bench.turn(0.5)
    seen = client.ask(hosted.Run(RUN), hosted.RunIs)
    assert [(one.state, one.seconds) for one in seen.steps] == [("Running", pytest.approx(0.5)), ("Waiting", 0.0)]
    assert seen.line.counts == {"Running": 1, "Waiting": 1}


@pytest.mark.parametrize("restart", [False, True])
def test_steps_of_one_group_have_their_own_names(restart: bool) -> None:
    bench = Bench(monitoring=True)
    client, hub = bench.client(), bench.hub()
    group = Group(a_spec(), 0, [b"x", b"y"], [[], [number(0)]])
    marks = [hosted.StepMark(name, number(place)) for place, name in enumerate("ab")]
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], [group], marks), control.Done)
    bench.turn(0.02)
    told = [(one.first, one.count, one.name) for one in hub.records(Tasks)]
    assert told == [(number(0), 1, "a"), (number(1), 1, "b")]
    if restart:
        bench.restart()
        client = bench.client(2)
    assert [line.name for line in client.ask(control.Tasks(), control.TasksAre).tasks] == ["a", "b"]
    manager = bench.manager()
    bench.turn()
    manager.report(ended(manager.assigned()[0], Status.RAISED))
    bench.turn()
    failure = client.ask(control.Task(number(1)), control.TaskIs).sentences
    assert any("(a) ended first" in sentence for sentence in failure)


def test_a_step_is_given_the_results_that_it_uses_and_only_waits_for_the_others() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    needs = [number(0), number(1)]
    groups = [Group(a_spec(), 0, [b"x", b"y"]), Group(a_spec(uses=1), 2, [b"z"], [needs])]
    marks = [hosted.StepMark(name, number(place)) for place, name in enumerate("abc")]
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], groups, marks), control.Done)
    bench.turn()
    first, second = manager.assigned()
    manager.report(done(first, b"first"))
    bench.turn()
    manager.report(done(second, b"second"))
    bench.turn()
    (third,) = manager.assigned()
    assert third.needs == [Need(number(0), b"first")]


def test_a_step_behind_one_that_its_manager_holds_is_told_to_wait_for_it() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    groups = [Group(a_spec(), 0, [b"x"]), Group(a_spec(uses=0), 1, [b"y"], [[number(0)]])]
    marks = [hosted.StepMark(name, number(place)) for place, name in enumerate("ab")]
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], groups, marks), control.Done)
    bench.turn()
    _, second = manager.assigned()
    assert second.needs == [Need(number(0))]


def test_to_start_it_again_changes_nothing_and_another_of_its_name_is_refused() -> None:
    bench = Bench()
    client = bench.client()
    client.ask(CHAIN, control.Done)
    assert client.ask(CHAIN, control.Done).count == 0
    assert len(bench.state.tasks) == 2
    refused = client.is_refused(order(("a", ()), digest=b"2"))
    assert "made from something else" in refused.message


@pytest.mark.parametrize("restart", [False, True])
def test_a_step_that_fails_fails_the_run_and_those_after_it(restart: bool) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(order(("a", ()), ("b", (0,)), ("EXIT", (0, 1))), control.Done)
    bench.turn()
    manager.report(*(ended(one, Status.RAISED, "E", message="broke") for one in manager.assigned()[:1]))
    bench.turn()
    if restart:
        bench.restart()
        bench.compact_all()
        bench.restart()
        client.say(client.hello)
        manager.back()
        bench.turn()
        bench.turn(60.0)
    manager.report(*map(done, manager.assigned()[-1:]))
    bench.turn()
    assert states(client) == {"a": "Failed", "b": "Failed", "EXIT": "Succeeded"}
    (first, second, _) = client.ask(hosted.Run(RUN), hosted.RunIs).steps
    assert first.message == "broke"
    assert "(a) ended first: broke" in second.message
    # `EXIT` alone is needed by nobody here; who makes a run says which steps decide
    assert phase(client) == "Succeeded"


def test_a_cancelled_run_still_runs_its_exit_step() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(order(("a", ()), ("EXIT", (0,))), control.Done)
    assert client.ask(hosted.EndRun(RUN), control.Done).count == 1
    (running, *rest) = manager.assigned()
    manager.report(ended(running, Status.CANCELLED))
    bench.turn()
    rest += manager.assigned()
    manager.report(*map(done, rest))
    bench.turn()
    assert states(client) == {"a": "Cancelled", "EXIT": "Succeeded"}


def test_of_a_held_run_nothing_is_handed_out_through_restarts_until_it_goes_on() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(order(("a", ()), ("B", (0,)), held=True), control.Done)
    bench.turn()
    assert (manager.assigned(), phase(client)) == ([], "Suspended")
    bench.restart()
    client.say(client.hello)
    manager.back()
    bench.turn()
    assert manager.assigned() == []
    client.ask(hosted.HoldRun(RUN, False), control.Done)
    bench.turn()
    (one,) = manager.assigned()
    client.ask(hosted.HoldRun(RUN, True), control.Done)
    manager.report(done(one))
    bench.turn()
    assert manager.assigned() == []
    client.ask(hosted.HoldRun(RUN, False), control.Done)
    bench.turn()
    manager.report(*map(done, manager.assigned()))
    bench.turn()
    assert phase(client) == "Succeeded"


def test_parts_of_a_held_run_wait_too() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(order(("a", ())), control.Done)
    bench.turn()
    (one,) = manager.assigned()
    client.ask(hosted.HoldRun(RUN, True), control.Done)
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    assert manager.assigned() == []
    (step,) = client.ask(hosted.Run(RUN), hosted.RunIs).steps
    assert (step.state, step.parts, step.open_parts) == ("Running", 2, 2)
    client.ask(hosted.HoldRun(RUN, False), control.Done)
    bench.turn()
    while held := manager.assigned():
        manager.report(*map(done, held))
        bench.turn()
    assert phase(client) == "Succeeded"


def test_a_run_that_is_forgotten_leaves_nothing_and_its_name_is_free() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    assert "end it first" in client.ask(hosted.ForgetRun(RUN), control.Unknown).message
    for _ in range(2):
        bench.turn()
        manager.report(*map(done, manager.assigned()))
    bench.turn()
    assert client.ask(hosted.ForgetRun(RUN), control.Done).count == 2
    assert (bench.state.tasks, bench.state.hosted) == ({}, {})
    bench.restart()
    assert (bench.state.tasks, bench.state.hosted) == ({}, {})
    client.say(client.hello)
    assert client.ask(order(("a", ()), digest=b"2"), control.Done).count == 1


def test_what_failed_is_run_again_on_what_was_done() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    bench.turn()
    one, *rest = manager.assigned()
    manager.report(done(one, b"first"))
    bench.turn()
    (second,) = rest + manager.assigned()
    manager.report(ended(second, Status.RAISED))
    bench.turn()
    line = client.ask(hosted.Run(RUN), hosted.RunIs).line
    assert (line.phase, line.next_number) == ("Failed", 2)
    again = Group(a_spec(name="b"), 2, [b"x"], [[number(0)]])
    marks = [hosted.StepMark("a", number(0), False), hosted.StepMark("b", number(2))]
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], [again], marks, again=True), control.Done)
    bench.turn()
    (third,) = manager.assigned()
    assert [need.body for need in third.needs] == [b"first"]
    manager.report(done(third))
    bench.turn()
    bench.restart()
    client.say(client.hello)
    assert (phase(client), len(bench.state.tasks)) == ("Succeeded", 2)


def test_a_client_can_follow_it_and_frees_nothing() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    client.say(wire.Reattach(9, RUN))
    for _ in range(2):
        bench.turn()
        manager.report(*(done(one, b"result") for one in manager.assigned()))
    bench.turn()
    (attached,) = client.heard(wire.Attached)
    assert attached.names == ["a", "b"]
    found = client.outcomes()
    assert [one.body for one in found] == [b"result", b"result"]
    client.collect([one.task for one in found])
    assert len(bench.state.tasks) == 2
    client.say(wire.Bye(cancel=True))
    assert len(bench.state.tasks) == 2


def test_who_may_use_some_pools_only_starts_runs_there_and_sees_its_own() -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    bench.state.limits["client:guest"] = frozenset({"other"})
    owner, guest = bench.client(), bench.client(2, user="client:guest")
    assert "is not one that this key may use" in guest.is_refused(CHAIN).message
    assert bench.state.hosted == {}
    owner.ask(CHAIN, control.Done)
    assert "none of this name" in guest.ask(hosted.EndRun(RUN), control.Unknown).message
    assert guest.ask(hosted.Runs(), hosted.RunsAre).runs == []
    guest.ask(order(("a", ()), run="mine", pool="other"), control.Done)
    assert [one.run for one in guest.ask(hosted.Runs(), hosted.RunsAre).runs] == ["mine"]


def test_what_is_wrong_with_a_run_is_said_and_leaves_nothing() -> None:
    bench = Bench()
    client = bench.client()
    assert "1 to 320 characters" in client.is_refused(order(("a", ()), run="")).message
    refused = client.is_refused(order(("a", ()), ("b", ()), pool="nowhere")).message
    assert refused.startswith("run 'pipeline', step 'a': unknown pool 'nowhere'")
    unknown = Group(a_spec("g", cores=99.0), 0, [b"x"], [[]])  # as a run's function is until it is learned with it
    too_large = hosted.StartRun(RUN, b"1", [a_function("g")], [unknown], [hosted.StepMark("a", number(0))])
    refused = client.is_refused(too_large).message
    assert refused.startswith("run 'pipeline', step 'a': cores=99 was asked for")
    assert "needs itself or a later one" in client.is_refused(order(("a", (1,)), ("b", ()))).message
    strange = hosted.StartRun(RUN, b"1", [a_function()], [], [hosted.StepMark("a", 7)])
    assert "step 'a' is none of its tasks" in client.is_refused(strange).message
    bench.turn()
    assert (bench.state.tasks, bench.state.hosted, len(bench.state.sessions)) == ({}, {}, 1)


def told(manager: Manager) -> list[tuple[int, int, bool]]:
    """(number, task, whether to stop) of what it was told about programs."""
    return [(one.number, one.task, one.held) for one in manager.heard(manager_wire.Hold)]


def line(client: Client) -> tuple[str, bool, int, dict[str, int]]:
    found = client.ask(hosted.Run(RUN, limit=0), hosted.RunIs).line
    return found.phase, found.stops, found.stopped, found.counts


def test_a_held_run_has_its_programs_stopped_also_those_that_begin_later_and_then_let_go_on() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    client.ask(order(("a", ()), ("b", ())), control.Done)
    bench.turn()
    assert len(manager.assigned()) == 2
    client.ask(hosted.HoldRun(RUN, held=True, running=True), control.Done)
    (a, first, stop), (b, second, _) = told(manager)
    assert (first, second, stop) == (number(0), number(1), True)
    manager.say(manager_wire.Held(a, 1))
    manager.say(manager_wire.Held(b, 0, "it waits for a worker"))
    assert line(client) == ("Suspended", True, 1, {"Stopped": 1, "Running": 1})
    client.ask(hosted.HoldRun(RUN, held=True, running=True), control.Done)
    ((b, again, _),) = told(manager)  # to say it again is to be told again, but for what is stopped
    bench.turn(5.0)
    assert (again, told(manager)) == (number(1), []), "it has yet to answer"
    manager.say(manager_wire.Held(b, 1))
    bench.turn(5.0)
    assert (told(manager), line(client)[2]) == ([], 2)
    client.ask(hosted.HoldRun(RUN, held=False), control.Done)
    orders = told(manager)
    assert [(task, stop) for _, task, stop in orders] == [(number(0), False), (number(1), False)]
    for one, _, _ in orders:
        manager.say(manager_wire.Held(one, 1))
    bench.turn(5.0)
    assert line(client) == ("Running", False, 0, {"Running": 2})
    assert bench.state.hosted[RUN].programs is Programs.RUN
    assert told(manager) == []


@pytest.mark.parametrize("goes_on", [False, True])
def test_neither_a_restart_nor_a_lost_connection_leaves_a_program_as_it_shall_not_be(goes_on: bool) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.ask(order(("a", ())), control.Done)
    bench.turn()
    (one,) = manager.assigned()
    client.ask(hosted.HoldRun(RUN, held=True, running=True), control.Done)
    ((stop, _, _),) = told(manager)
    manager.say(manager_wire.Held(stop, 1))
    if goes_on:
        client.ask(hosted.HoldRun(RUN, held=False), control.Done)
        told(manager)  # and it is lost on its way
    bench.restart()
    bench.compact_all()
    bench.restart()
    client.say(client.hello)
    bench.turn(2.0)
    manager.back(Lease(one.task, one.epoch))
    bench.turn(2.0)
    ((lost, task, held),) = told(manager)
    assert (task, held) == (one.task, not goes_on)
    manager.back(Lease(one.task, one.epoch))  # it connects anew, and has not heard it
    bench.turn(2.0)
    ((heard, _, _),) = told(manager)
    manager.say(manager_wire.Held(lost, 1))
    manager.say(manager_wire.Held(heard, 1))
    bench.turn(2.0)
    assert (told(manager), line(client)[:3]) == ([], ("Running", False, 0) if goes_on else ("Suspended", True, 1))


def test_parts_of_a_held_run_are_stopped_and_what_has_ended_is_none_of_them() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    client.ask(order(("a", ())), control.Done)
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    left, right = manager.assigned()
    client.ask(hosted.HoldRun(RUN, held=True, running=True), control.Done)
    for question, _, _ in told(manager):
        manager.say(manager_wire.Held(question, 1))
    assert line(client) == ("Suspended", True, 2, {"Running": 1})
    manager.report(ended(left, Status.TIMEOUT, "E"))  # a limit of time holds for what is stopped, too
    bench.turn(2.0)
    client.ask(hosted.EndRun(RUN), control.Done)
    assert [(task, held) for _, task, held in told(manager)] in ([], [(right.task, False)])


def test_the_needs_and_names_of_steps_count_as_what_the_journal_must_keep() -> None:
    """Or the log would be compacted as soon as a run is in it, and find nothing to drop."""
    steps = 2000
    bench = Bench()
    client = bench.client()
    needs = [[number(place - 50)] if place >= 50 else [] for place in range(steps)]
    group = Group(a_spec(), 0, [b"x"] * steps, needs)
    marks = [hosted.StepMark(f"step{place}", number(place)) for place in range(steps)]
    before = bench.log.total_bytes
    client.ask(hosted.StartRun(RUN, b"1", [a_function()], [group], marks), control.Done)
    written = bench.log.total_bytes - before
    assert 0.9 * written < bench.state.live_bytes < 1.5 * written
